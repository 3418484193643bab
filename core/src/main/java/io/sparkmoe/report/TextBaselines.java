package io.sparkmoe.report;

import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.zip.Deflater;
import java.util.zip.GZIPOutputStream;

/**
 * What two models that learn nothing of language need for a text, to hold a trained model's bits
 * per byte against.
 *
 * @param bytes length of the text
 * @param unigramBitsPerByte entropy of the text's own byte frequencies: no model that looks at one
 *     byte at a time can do better
 * @param gzipBitsPerByte size of the text under {@code gzip -9}
 */
public record TextBaselines(long bytes, double unigramBitsPerByte, double gzipBitsPerByte) {

  /**
   * The baselines of the text that rows were packed from, documents ended by a line feed.
   *
   * @param rows all rows of a dataset's half, in order
   * @param tokenizer that they were made with
   */
  public static TextBaselines of(List<TokenRow> rows, Tokenizer tokenizer) {
    Meter meter = new Meter();
    Map<String, List<TokenRow>> bySource = new LinkedHashMap<>();
    for (TokenRow row : rows) {
      bySource.computeIfAbsent(row.source(), source -> new ArrayList<>()).add(row);
    }
    for (List<TokenRow> stream : bySource.values()) {
      addStream(meter, stream, tokenizer);
    }
    return meter.finish();
  }

  /** Neighbouring rows of a source share a token: the last target is the next row's first input. */
  private static void addStream(Meter meter, List<TokenRow> stream, Tokenizer tokenizer) {
    IntStream.Builder document = IntStream.builder();
    for (TokenRow row : stream) {
      int inputs = Math.min(row.numTokens(), row.tokens().length - 1);
      for (int i = 0; i < inputs; i++) {
        if (row.tokens()[i] == tokenizer.endOfTextId()) {
          addDocument(meter, document, tokenizer);
          document = IntStream.builder();
        } else {
          document.add(row.tokens()[i]);
        }
      }
    }
    addDocument(meter, document, tokenizer);
  }

  private static void addDocument(Meter meter, IntStream.Builder ids, Tokenizer tokenizer) {
    int[] document = ids.build().toArray();
    if (document.length > 0) {
      meter.add((tokenizer.decode(document) + "\n").getBytes(StandardCharsets.UTF_8));
    }
  }

  /** Takes a text piece by piece; call {@link #finish} once. */
  public static final class Meter {

    private final long[] frequencies = new long[256];
    private final CountingStream compressed = new CountingStream();
    private final OutputStream gzip;
    private long bytes;

    public Meter() {
      try {
        gzip =
            new GZIPOutputStream(compressed) {
              {
                def.setLevel(Deflater.BEST_COMPRESSION);
              }
            };
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /** Takes the next piece. */
    public void add(byte[] piece) {
      for (byte b : piece) {
        frequencies[b & 0xff]++;
      }
      bytes += piece.length;
      try {
        gzip.write(piece);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /** The baselines of all that was added; of nothing, both are 0. */
    public TextBaselines finish() {
      try {
        gzip.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      if (bytes == 0) {
        return new TextBaselines(0, 0, 0);
      }
      double bits = 0;
      for (long n : frequencies) {
        if (n > 0) {
          bits -= (double) n / bytes * Math.log((double) n / bytes) / Math.log(2);
        }
      }
      return new TextBaselines(bytes, bits, 8.0 * compressed.bytes / bytes);
    }
  }

  /** Counts what is written and keeps nothing. */
  private static final class CountingStream extends OutputStream {

    private long bytes;

    @Override
    public void write(int b) {
      bytes++;
    }

    @Override
    public void write(byte[] b, int offset, int length) {
      bytes += length;
    }
  }
}
