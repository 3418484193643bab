package io.sparkmoe.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.Sha256;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Writes and checks the ByteLevel-BPE form of Hugging Face's tokenizer.json. */
final class TokenizerJson {

  private static final ObjectMapper MAPPER = new ObjectMapper();

  private TokenizerJson() {}

  /**
   * A tokenizer.json with one special token, {@link Tokenizers#END_OF_TEXT}, whose id follows the
   * last of the vocabulary.
   *
   * @param vocabulary tokens in ByteLevel characters, by id
   * @param merges pairs of tokens in the order of their rank
   */
  static String write(List<String> vocabulary, List<String[]> merges) {
    JsonNodeFactory json = MAPPER.getNodeFactory();
    int endOfTextId = vocabulary.size();

    ObjectNode vocab = json.objectNode();
    for (int id = 0; id < vocabulary.size(); id++) {
      vocab.put(vocabulary.get(id), id);
    }
    vocab.put(Tokenizers.END_OF_TEXT, endOfTextId);
    ArrayNode pairs = json.arrayNode();
    merges.forEach(pair -> pairs.add(json.arrayNode().add(pair[0]).add(pair[1])));

    ObjectNode model = json.objectNode();
    model.put("type", "BPE");
    model.putNull("dropout").putNull("unk_token");
    model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
    model.put("fuse_unk", false).put("byte_fallback", false).put("ignore_merges", false);
    model.set("vocab", vocab);
    model.set("merges", pairs);

    ObjectNode endOfText = json.objectNode();
    endOfText.put("id", endOfTextId).put("content", Tokenizers.END_OF_TEXT);
    endOfText.put("single_word", false).put("lstrip", false).put("rstrip", false);
    endOfText.put("normalized", false).put("special", true);

    ObjectNode root = json.objectNode();
    root.put("version", "1.0");
    root.putNull("truncation").putNull("padding");
    root.set("added_tokens", json.arrayNode().add(endOfText));
    root.putNull("normalizer");
    root.set("pre_tokenizer", byteLevel(json));
    root.putNull("post_processor");
    root.set("decoder", byteLevel(json));
    root.set("model", model);
    try {
      return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree of strings and numbers is always writable", e);
    }
  }

  private static ObjectNode byteLevel(JsonNodeFactory json) {
    return json.objectNode()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", true);
  }

  /** Parses a tokenizer.json and refuses what is not a ByteLevel BPE. */
  static JsonNode read(String text) {
    JsonNode root;
    try {
      root = MAPPER.readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "tokenizer is not JSON: it breaks at line "
              + e.getLocation().getLineNr()
              + ", column "
              + e.getLocation().getColumnNr()
              + ", expected a Hugging Face tokenizer.json; copy it again",
          e);
    }
    String type = root.path("model").path("type").asText("none");
    if (!type.equals("BPE")) {
      throw new IllegalArgumentException(
          "tokenizer model is " + type + ", expected BPE; give a ByteLevel-BPE tokenizer.json");
    }
    if (!mentions(root.path("decoder"), "ByteLevel")) {
      throw new IllegalArgumentException(
          "tokenizer decoder is "
              + root.path("decoder").path("type").asText("none")
              + ", expected ByteLevel; give a ByteLevel-BPE tokenizer.json");
    }
    return root;
  }

  /** Whether a component, or one of a Sequence's, is of the type. */
  private static boolean mentions(JsonNode component, String type) {
    if (component.path("type").asText().equals(type)) {
      return true;
    }
    for (JsonNode part : component.path("decoders")) {
      if (mentions(part, type)) {
        return true;
      }
    }
    return false;
  }

  static String sha256(String json) {
    return Sha256.hex(json.getBytes(StandardCharsets.UTF_8));
  }
}
