package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.TensorShape;
import io.sparkmoe.tensor.Tensor;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A folder in the form of Hugging Face's {@code DeepseekV3ForCausalLM}: {@code config.json} beside
 * {@code model.safetensors}, or beside {@code model.safetensors.index.json} and the files that it
 * names. Weights may be F32, BF16, F16, or F8_E4M3 with scales ({@link BlockScales}).
 *
 * <p>The layers from {@code num_hidden_layers} on are MTP modules; as many are used as have
 * weights, since transformers leaves them out when it saves. Their copies of embedding and head are
 * not read: both are the main model's [1].
 *
 * <p>Everything is checked from the files' headers when the folder is opened, before memory is
 * taken for any weight.
 *
 * <p>[1] DeepSeek-V3, README_WEIGHTS.md.
 */
public final class HuggingFaceFolder implements WeightSource {

  private static final String CONFIG = "config.json";
  private static final String GENERATION_CONFIG = "generation_config.json";
  private static final String TOKENIZER = "tokenizer.json";
  private static final String TOKENIZER_CONFIG = "tokenizer_config.json";
  private static final String SINGLE_FILE = "model.safetensors";
  private static final String INDEX = "model.safetensors.index.json";
  private static final String LAYER = "model.layers.";

  private static final ObjectMapper JSON = new ObjectMapper();

  private final Store store;
  private final String folder;
  private final ObjectNode config;
  private final Map<String, Place> tensors;
  private final ModelConfig model;
  private final BlockScales scales;
  private final List<String> notes = new ArrayList<>();

  /** The file read last; most neighbours in name order lie in one. */
  private SafetensorsReader open;

  private String openFile = "";

  /** Where a tensor lies: a file of the folder, and what its header says. */
  private record Place(String file, TensorInfo info) {}

  private HuggingFaceFolder(Store store, String folder) throws IOException {
    this.store = store;
    this.folder = folder;
    this.config = object(CONFIG);
    this.tensors = index();
    try {
      this.scales = BlockScales.of(config.path("quantization_config"));
      this.model =
          HuggingFaceConfig.fromPublished(config, numMtpModules(), note -> notes.add(note));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(store.describe(path(CONFIG)) + ": " + e.getMessage(), e);
    }
    for (TensorShape shape : Parameters.shapes(model)) {
      check(shape);
    }
  }

  /**
   * Opens a folder and checks that it holds every weight of its model.
   *
   * @param folder in the store; empty when the store's root is the folder, but then the {@code
   *     model} folder of a checkpoint that was never committed cannot be told from a good one
   * @throws IllegalArgumentException naming the tensor that is missing or has another shape, or the
   *     key of config.json that asks for what this program does not do
   * @throws CorruptFileException when a file contradicts itself, its index or its size
   */
  public static HuggingFaceFolder open(Store store, String folder) throws IOException {
    requireCommitted(store, folder);
    return new HuggingFaceFolder(store, folder);
  }

  /** A checkpoint of ours keeps its model in such a folder, complete or not. */
  private static void requireCommitted(Store store, String folder) throws IOException {
    String name = folder.substring(folder.lastIndexOf('/') + 1);
    String parent = folder.substring(0, Math.max(0, folder.length() - name.length() - 1));
    if ((name + "/").equals(CheckpointWriter.MODEL)
        && !CheckpointReader.isCommitted(store, parent)
        && !store.list(CheckpointStore.join(parent, CheckpointWriter.OPTIMIZER_FOLDER)).isEmpty()) {
      throw new IllegalArgumentException(
          "folder "
              + store.describe(folder)
              + " belongs to a checkpoint that was never committed: "
              + store.describe(parent)
              + " has no "
              + Manifest.FILE
              + ", expected one; take an older checkpoint");
    }
  }

  /** Whether a folder looks like one. */
  public static boolean exists(Store store, String folder) throws IOException {
    return store.exists(CheckpointStore.join(folder, CONFIG))
        && (store.exists(CheckpointStore.join(folder, INDEX))
            || store.exists(CheckpointStore.join(folder, SINGLE_FILE)));
  }

  @Override
  public String location() {
    return store.describe(folder);
  }

  @Override
  public ModelConfig model() {
    return model;
  }

  /** One sentence for every key of config.json that was left out. */
  public List<String> notes() {
    return List.copyOf(notes);
  }

  /** Text of the folder's tokenizer.json, if it has one. */
  public Optional<String> tokenizerJson() throws IOException {
    return store.exists(path(TOKENIZER))
        ? Optional.of(store.readText(path(TOKENIZER)))
        : Optional.empty();
  }

  /**
   * Ids that end a text, as {@code generation_config.json} or else {@code config.json} names them;
   * empty when neither does.
   */
  public SortedSet<Integer> endOfTextIds() throws IOException {
    JsonNode named = config.path("eos_token_id");
    if (store.exists(path(GENERATION_CONFIG))) {
      JsonNode ofGeneration = object(GENERATION_CONFIG).path("eos_token_id");
      named = ofGeneration.isMissingNode() || ofGeneration.isNull() ? named : ofGeneration;
    }
    SortedSet<Integer> ids = new TreeSet<>();
    for (JsonNode id : named.isArray() ? named : JSON.createArrayNode().add(named)) {
      if (id.isIntegralNumber()) {
        ids.add(id.intValue());
      }
    }
    return ids;
  }

  /**
   * Ids that stand before every text. {@code add_bos_token} of {@code tokenizer_config.json} says
   * whether its {@code bos_token} does; where it says nothing, the template of {@code
   * tokenizer.json} does (its post-processor, TemplateProcessing).
   *
   * @throws IllegalArgumentException when tokenizer.json has no such token
   */
  public int[] beginOfTextIds() throws IOException {
    if (!store.exists(path(TOKENIZER))) {
      return new int[0];
    }
    JsonNode tokenizer = object(TOKENIZER);
    JsonNode settings =
        store.exists(path(TOKENIZER_CONFIG)) ? object(TOKENIZER_CONFIG) : JSON.createObjectNode();
    JsonNode add = settings.path("add_bos_token");
    if (!add.isBoolean()) {
      return templateStart(tokenizer.path("post_processor"));
    }
    JsonNode named = settings.path("bos_token");
    String begin = named.isObject() ? named.path("content").asText() : named.asText(null);
    return add.booleanValue() && begin != null
        ? new int[] {addedToken(tokenizer, begin)}
        : new int[0];
  }

  /** Ids before the text in the first template among post-processors. */
  private static int[] templateStart(JsonNode processor) {
    for (JsonNode inner : processor.path("processors")) {
      int[] ids = templateStart(inner);
      if (ids.length > 0) {
        return ids;
      }
    }
    List<Integer> ids = new ArrayList<>();
    for (JsonNode piece : processor.path("single")) {
      if (piece.has("Sequence")) {
        break;
      }
      String token = piece.path("SpecialToken").path("id").asText();
      for (JsonNode id : processor.path("special_tokens").path(token).path("ids")) {
        ids.add(id.asInt());
      }
    }
    return ids.stream().mapToInt(Integer::intValue).toArray();
  }

  private int addedToken(JsonNode tokenizer, String content) {
    for (JsonNode token : tokenizer.path("added_tokens")) {
      if (token.path("content").asText().equals(content)) {
        return token.path("id").asInt();
      }
    }
    JsonNode id = tokenizer.path("model").path("vocab").path(content);
    if (id.isIntegralNumber()) {
      return id.intValue();
    }
    throw new IllegalArgumentException(
        store.describe(path(TOKENIZER))
            + " has no token "
            + content
            + ", expected the bos_token of "
            + TOKENIZER_CONFIG
            + "; take both files from one place");
  }

  @Override
  public void read(String name, Tensor into) throws IOException {
    Place place = find(name);
    file(place.file).read(name, into);
    if (place.info.type().isScaled()) {
      Place scale = find(BlockScales.nameOf(name));
      scales.multiply(into, file(scale.file), scale.info);
    }
  }

  @Override
  public void close() throws IOException {
    if (open != null) {
      open.close();
      open = null;
      openFile = "";
    }
  }

  /** Every tensor of every file, by name. */
  private Map<String, Place> index() throws IOException {
    Map<String, Place> places = new TreeMap<>();
    if (!store.exists(path(INDEX))) {
      addTensors(places, SINGLE_FILE);
      return places;
    }
    JsonNode fileOf = object(INDEX).path("weight_map");
    SortedSet<String> files = new TreeSet<>();
    for (Map.Entry<String, JsonNode> entry : fileOf.properties()) {
      files.add(entry.getValue().asText());
    }
    for (String file : files) {
      if (!file.endsWith(CheckpointWriter.SAFETENSORS) || file.contains("/")) {
        throw new CorruptFileException(
            store.describe(path(INDEX)),
            "it names the file '" + file + "', expected a .safetensors file beside it");
      }
      addTensors(places, file);
    }
    for (Map.Entry<String, JsonNode> entry : fileOf.properties()) {
      Place place = places.get(entry.getKey());
      if (place == null || !place.file.equals(entry.getValue().asText())) {
        throw new CorruptFileException(
            store.describe(path(INDEX)),
            "it says that "
                + entry.getValue().asText()
                + " holds tensor "
                + entry.getKey()
                + ", which is "
                + (place == null ? "in no file" : "in " + place.file));
      }
    }
    return places;
  }

  private void addTensors(Map<String, Place> places, String file) throws IOException {
    if (!store.exists(path(file))) {
      throw new FileNotFoundException(
          "file "
              + store.describe(path(file))
              + " is missing, expected the weights that config.json describes");
    }
    try (SafetensorsReader reader = SafetensorsReader.open(store, path(file))) {
      for (String name : reader.names()) {
        Place before = places.put(name, new Place(file, reader.info(name)));
        if (before != null) {
          throw new CorruptFileException(
              store.describe(path(file)), before.file + " holds its tensor " + name + " too");
        }
      }
    }
  }

  /** Layers behind the main model's that have any weight. */
  private int numMtpModules() {
    JsonNode numHiddenLayers = config.path("num_hidden_layers");
    int last = -1;
    for (String name : tensors.keySet()) {
      String rest = name.startsWith(LAYER) ? name.substring(LAYER.length()) : "";
      int dot = rest.indexOf('.');
      if (dot > 0 && dot < 7 && rest.substring(0, dot).chars().allMatch(Character::isDigit)) {
        last = Math.max(last, Integer.parseInt(rest.substring(0, dot)));
      }
    }
    return Math.max(0, last + 1 - numHiddenLayers.asInt(last + 1));
  }

  private void check(TensorShape shape) throws IOException {
    Place place = find(shape.name());
    TensorInfo info = place.info;
    if (!Arrays.equals(info.dims(), shape.shape())) {
      throw new IllegalArgumentException(
          "tensor "
              + shape.name()
              + " of "
              + store.describe(path(place.file))
              + " is "
              + info.type()
              + info.shape()
              + ", expected the shape "
              + Arrays.toString(shape.shape())
              + " by config.json; take the files of one model");
    }
    if (!info.type().tensorType().isFloating()) {
      throw new IllegalArgumentException(
          "tensor "
              + shape.name()
              + " of "
              + store.describe(path(place.file))
              + " is "
              + info.type()
              + ", expected F32, BF16, F16, or F8_E4M3 with scales");
    }
    if (info.type().isScaled()) {
      Place scale = find(BlockScales.nameOf(shape.name()));
      scales.check(info, scale.info, store.describe(path(scale.file)));
    }
  }

  private Place find(String name) {
    Place place = tensors.get(name);
    if (place == null) {
      throw new IllegalArgumentException(
          "tensor "
              + name
              + " is missing: "
              + location()
              + " holds "
              + tensors.size()
              + " tensors without it, expected every weight that config.json describes; take the"
              + " files of one model");
    }
    return place;
  }

  private SafetensorsReader file(String file) throws IOException {
    if (!openFile.equals(file)) {
      close();
      open = SafetensorsReader.open(store, path(file));
      openFile = file;
    }
    return open;
  }

  private ObjectNode object(String file) throws IOException {
    JsonNode root;
    try {
      root = JSON.readTree(store.readText(path(file)));
    } catch (JsonProcessingException e) {
      throw new CorruptFileException(store.describe(path(file)), "it is not JSON", e);
    }
    if (!(root instanceof ObjectNode object)) {
      throw new CorruptFileException(store.describe(path(file)), "it is no JSON object");
    }
    return object;
  }

  private String path(String file) {
    return CheckpointStore.join(folder, file);
  }
}
