package io.sparkmoe.data;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.util.Map;

/**
 * What {@code dataset.json} says about a dataset of token rows.
 *
 * @param formatVersion of the files beside it; this code reads and writes {@link #FORMAT_VERSION}
 * @param seqLen inputs of a row; a row has one token more
 * @param tokenizerSha256 of tokenizer.json, in hex
 * @param vocabSize ids of the tokenizer
 * @param endOfTextId id that ends documents and pads rows
 * @param validationEvery every so many-th document was held out, 0 = none
 * @param train what is trained on
 * @param validation what is held out
 */
public record DatasetInfo(
    @JsonProperty(value = "formatVersion", required = true) int formatVersion,
    @JsonProperty(value = "seqLen", required = true) int seqLen,
    @JsonProperty(value = "tokenizerSha256", required = true) String tokenizerSha256,
    @JsonProperty(value = "vocabSize", required = true) int vocabSize,
    @JsonProperty(value = "endOfTextId", required = true) int endOfTextId,
    @JsonProperty("validationEvery") int validationEvery,
    @JsonProperty(value = "train", required = true) Split train,
    @JsonProperty(value = "validation", required = true) Split validation) {

  /** Version that this program writes, and the newest that it reads. */
  public static final int FORMAT_VERSION = 1;

  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  /**
   * One half of a dataset.
   *
   * @param documents documents
   * @param rows rows
   * @param tokens token ids, one end-of-text for each document included, padding and shared tokens
   *     not
   * @param bytes UTF-8 bytes of the documents, and one for each document's end
   * @param bytesPerToken bytes / tokens: a loss in nats per token, / ln 2 / this, is bits per byte
   * @param sources the same counts for each source
   */
  public record Split(
      @JsonProperty("documents") long documents,
      @JsonProperty("rows") long rows,
      @JsonProperty("tokens") long tokens,
      @JsonProperty("bytes") long bytes,
      @JsonProperty("bytesPerToken") double bytesPerToken,
      @JsonProperty("sources") Map<String, Source> sources) {

    /** The half that these sources make up. */
    public static Split of(Map<String, Source> sources) {
      long documents = sources.values().stream().mapToLong(Source::documents).sum();
      long rows = sources.values().stream().mapToLong(Source::rows).sum();
      long tokens = sources.values().stream().mapToLong(Source::tokens).sum();
      long bytes = sources.values().stream().mapToLong(Source::bytes).sum();
      return new Split(
          documents, rows, tokens, bytes, tokens == 0 ? 0 : (double) bytes / tokens, sources);
    }
  }

  /** Counts of one source, as in {@link Split}. */
  public record Source(
      @JsonProperty("documents") long documents,
      @JsonProperty("rows") long rows,
      @JsonProperty("tokens") long tokens,
      @JsonProperty("bytes") long bytes) {}

  /** The file's text. */
  public String toJson() {
    try {
      return MAPPER.writeValueAsString(this) + "\n";
    } catch (JsonProcessingException e) {
      throw new AssertionError("a record of numbers and strings is always writable", e);
    }
  }

  /**
   * Reads a dataset.json.
   *
   * @param location named in errors
   * @throws IllegalArgumentException when it is damaged or of a newer format
   */
  public static DatasetInfo fromJson(String json, String location) {
    DatasetInfo info;
    try {
      info = MAPPER.readValue(json, DatasetInfo.class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          location
              + " is not a dataset description ("
              + e.getOriginalMessage()
              + "); run moe prepare again",
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
