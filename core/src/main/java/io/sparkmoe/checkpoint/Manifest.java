package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.FormatTooNewException;
import io.sparkmoe.io.Sha256;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * What a checkpoint consists of. Its file is written last and makes the checkpoint one; its last
 * field, {@code sha256}, is the checksum of the other fields as compact JSON, so that a damaged
 * manifest is noticed too.
 *
 * @param formatVersion of this file and of the files' layout
 * @param step optimizer steps taken
 * @param numRanks ranks that wrote it
 * @param gemmBackend matrix library that the run computed with; another one gives other last bits
 * @param weightsSha256 {@link WeightsDigest} of the weights, null when it was not computed
 * @param config the run's resolved config
 * @param files every other file of the folder, sorted by name
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
public record Manifest(
    @JsonProperty("formatVersion") int formatVersion,
    @JsonProperty("step") int step,
    @JsonProperty("numRanks") int numRanks,
    @JsonProperty("gemmBackend") String gemmBackend,
    @JsonProperty("weightsSha256") String weightsSha256,
    @JsonProperty("config") JsonNode config,
    @JsonProperty("files") List<FileEntry> files) {

  /** Version that this program writes, and the newest that it reads. */
  public static final int FORMAT_VERSION = 1;

  static final String FILE = "manifest.json";

  private static final String CHECKSUM = "sha256";

  private static final ObjectMapper JSON = new ObjectMapper();

  public Manifest {
    files = List.copyOf(files);
  }

  /** The file's text, checksum included. */
  String toText() {
    try {
      // Through text once, so that numbers are what a reader will see.
      ObjectNode fields = (ObjectNode) JSON.readTree(JSON.writeValueAsString(this));
      fields.put(CHECKSUM, checksum(fields));
      return JSON.writerWithDefaultPrettyPrinter().writeValueAsString(fields) + "\n";
    } catch (JsonProcessingException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * @param file its name for messages
   * @throws CorruptFileException when the text is not what {@link #toText} wrote
   * @throws FormatTooNewException when a later version wrote it
   */
  static Manifest parse(String file, String text) throws IOException {
    JsonNode root;
    try {
      root = JSON.readTree(text);
    } catch (JsonProcessingException e) {
      throw new CorruptFileException(file, "it is not JSON", e);
    }
    if (!(root instanceof ObjectNode fields)) {
      throw new CorruptFileException(file, "it is no JSON object");
    }
    String stated = fields.path(CHECKSUM).asText();
    fields.remove(CHECKSUM);
    String actual = checksum(fields);
    boolean whole = stated.equals(actual);
    int version = fields.path("formatVersion").asInt();
    // A flipped bit of the version is damage, which the checksum tells; a later format may lack it.
    if (version > FORMAT_VERSION && (whole || stated.isEmpty())) {
      throw new FormatTooNewException(file, version, FORMAT_VERSION);
    }
    if (!whole) {
      throw new CorruptFileException(
          file, "its fields have the SHA-256 " + actual + ", it states '" + stated + "'");
    }
    try {
      return JSON.treeToValue(fields, Manifest.class);
    } catch (JsonProcessingException e) {
      throw new CorruptFileException(file, "a field has the wrong type", e);
    }
  }

  private static String checksum(ObjectNode fields) {
    byte[] text = fields.toString().getBytes(StandardCharsets.UTF_8);
    return Sha256.hex(text);
  }
}
