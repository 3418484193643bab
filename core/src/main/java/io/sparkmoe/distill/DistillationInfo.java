package io.sparkmoe.distill;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.util.Map;

/**
 * What {@code distillation.json} says about a dataset of distillation rows. Its presence makes a
 * folder a dataset.
 *
 * @param formatVersion of the files beside it; this code reads and writes {@link #FORMAT_VERSION}
 * @param teacher name of the model
 * @param teacherRevision which version of it, null = not known
 * @param tokenizerSha256 of the tokenizer.json beside it, null = ids are not known
 * @param vocabSize ids of that tokenizer, 0 = not known
 * @param topK alternatives that were asked for at each token
 * @param prompts requests of the job
 * @param answers requests with an answer
 * @param failed requests that the last run could not get an answer to
 * @param promptTokens tokens that the teacher read, as its owner counts
 * @param completionTokens tokens that it wrote
 * @param dropped answers that were left out, by filter in their order
 * @param rows rows under data/
 * @param rowTokens completion tokens with ids in them
 */
public record DistillationInfo(
    @JsonProperty(value = "formatVersion", required = true) int formatVersion,
    @JsonProperty(value = "teacher", required = true) String teacher,
    @JsonProperty("teacherRevision") String teacherRevision,
    @JsonProperty("tokenizerSha256") String tokenizerSha256,
    @JsonProperty("vocabSize") int vocabSize,
    @JsonProperty("topK") int topK,
    @JsonProperty("prompts") long prompts,
    @JsonProperty("answers") long answers,
    @JsonProperty("failed") long failed,
    @JsonProperty("promptTokens") long promptTokens,
    @JsonProperty("completionTokens") long completionTokens,
    @JsonProperty("dropped") Map<String, Long> dropped,
    @JsonProperty(value = "rows", required = true) long rows,
    @JsonProperty("rowTokens") long rowTokens) {

  /** Version that this program writes, and the newest that it reads. */
  public static final int FORMAT_VERSION = 1;

  /** Name of the file. */
  public static final String FILE = "distillation.json";

  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  /** The file's text. */
  public String toJson() {
    try {
      return MAPPER.writeValueAsString(this) + "\n";
    } catch (JsonProcessingException e) {
      throw new AssertionError("a record of numbers and strings is always writable", e);
    }
  }

  /**
   * Reads the file.
   *
   * @param location named in errors
   * @throws IllegalArgumentException when it is damaged or of a newer format
   */
  public static DistillationInfo fromJson(String json, String location) {
    DistillationInfo info;
    try {
      info = MAPPER.readValue(json, DistillationInfo.class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          location
              + " is not a description of distillation rows ("
              + e.getOriginalMessage()
              + "); run moe teach again",
          e);
    }
    if (info.formatVersion > FORMAT_VERSION) {
      throw new IllegalArgumentException(
          location
              + " has format version "
              + info.formatVersion
              + ", this version reads up to "
              + FORMAT_VERSION
              + "; use a newer spark-moe");
    }
    return info;
  }
}
