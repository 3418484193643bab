package io.sparkmoe.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;

class TextBaselinesTest {

  @Test
  void fourEvenBytesNeedTwoBits() {
    TextBaselines baselines = of("abcdabcddcba".repeat(100));
    assertThat(baselines.bytes()).isEqualTo(1200);
    assertThat(baselines.unigramBitsPerByte()).isEqualTo(2, within(1e-12));
    assertThat(baselines.gzipBitsPerByte()).isLessThan(0.5);
  }

  @Test
  void oneRepeatedByteNeedsNoBits() {
    assertThat(of("x".repeat(1000)).unigramBitsPerByte()).isZero();
  }

  @Test
  void randomBytesDoNotCompress() {
    byte[] noise = new byte[100_000];
    new SplittableRandom(Long.getLong("moe.seed", 1)).nextBytes(noise);
    TextBaselines.Meter meter = new TextBaselines.Meter();
    meter.add(noise);
    TextBaselines baselines = meter.finish();
    assertThat(baselines.unigramBitsPerByte()).isBetween(7.99, 8.0);
    assertThat(baselines.gzipBitsPerByte()).isBetween(8.0, 8.01);
  }

  @Test
  void gzipCountsTheWholeFileAtItsBestLevel() throws IOException {
    byte[] text =
        "Mit Freude eröffne ich die Sitzung. ".repeat(300).getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream plain = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(plain)) {
      gzip.write(text);
    }
    double usual = 8.0 * plain.size() / text.length;
    assertThat(of(new String(text, StandardCharsets.UTF_8)).gzipBitsPerByte())
        .isPositive()
        .isLessThanOrEqualTo(usual);
  }

  @Test
  void piecesCountAsOneText() {
    TextBaselines.Meter meter = new TextBaselines.Meter();
    meter.add("abcd".getBytes(StandardCharsets.UTF_8));
    meter.add("efgh".getBytes(StandardCharsets.UTF_8));
    assertThat(meter.finish()).isEqualTo(of("abcdefgh"));
  }

  @Test
  void packedRowsGiveTheTextThatTheyWereMadeFrom() {
    String[] greek = {"Κυρία Πρόεδρε, ευχαριστώ.", "Ναι."};
    String[] danish = {"Tak, hr. formand. Mødet er åbent."};
    try (Tokenizer tokenizer = new ByteTokenizer()) {
      List<TokenRow> rows = new ArrayList<>();
      pack(rows, "el", greek, tokenizer);
      pack(rows, "da", danish, tokenizer);
      assertThat(rows).hasSizeGreaterThan(5);
      String text = String.join("\n", greek) + "\n" + String.join("\n", danish) + "\n";
      assertThat(TextBaselines.of(rows, tokenizer)).isEqualTo(of(text));
    }
  }

  /** Rows of 16 inputs that share a token, as the dataset's are. */
  private static void pack(
      List<TokenRow> rows, String source, String[] documents, Tokenizer tokenizer) {
    List<Integer> stream = new ArrayList<>();
    for (String document : documents) {
      Arrays.stream(tokenizer.encode(document)).forEach(stream::add);
      stream.add(tokenizer.endOfTextId());
    }
    for (int begin = 0; begin < stream.size() - 1; begin += 16) {
      int from = begin;
      int numTokens = Math.min(17, stream.size() - begin);
      int[] tokens =
          IntStream.range(0, 17)
              .map(i -> i < numTokens ? stream.get(from + i) : tokenizer.endOfTextId())
              .toArray();
      rows.add(new TokenRow(rows.size(), tokens, new int[0], numTokens, source));
    }
  }

  @Test
  void nothingHasNoBaseline() {
    assertThat(new TextBaselines.Meter().finish()).isEqualTo(new TextBaselines(0, 0, 0));
  }

  private static TextBaselines of(String text) {
    TextBaselines.Meter meter = new TextBaselines.Meter();
    meter.add(text.getBytes(StandardCharsets.UTF_8));
    return meter.finish();
  }
}
