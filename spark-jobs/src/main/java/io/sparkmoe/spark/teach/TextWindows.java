package io.sparkmoe.spark.teach;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.Prompt;
import java.util.Arrays;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.spark.api.java.JavaRDD;

/** Cuts whole texts into windows of tokens for a teacher to judge. */
public final class TextWindows {

  private TextWindows() {}

  /**
   * The windows of some texts.
   *
   * @param texts whole texts
   * @param tokenizerJson the teacher's
   * @param seqLen tokens to judge in each; windows share one token, so that every token but a
   *     text's first is judged once
   * @return lines of {@link Prompt#toJson}
   */
  public static JavaRDD<String> of(JavaRDD<String> texts, String tokenizerJson, int seqLen) {
    return texts.mapPartitions(
        documents -> {
          // Tokens of one document at a time; the tokenizer lives as long as the task's iterator.
          Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson);
          return new Windows(documents, tokenizer, seqLen);
        });
  }

  private static final class Windows implements Iterator<String> {
    private final Iterator<String> documents;
    private final Tokenizer tokenizer;
    private final int seqLen;
    private int[] tokens = new int[0];
    private int next;

    Windows(Iterator<String> documents, Tokenizer tokenizer, int seqLen) {
      this.documents = documents;
      this.tokenizer = tokenizer;
      this.seqLen = seqLen;
    }

    @Override
    public boolean hasNext() {
      while (next + 1 >= tokens.length) {
        if (!documents.hasNext()) {
          tokenizer.close();
          return false;
        }
        tokens = tokenizer.encode(documents.next());
        next = 0;
      }
      return true;
    }

    @Override
    public String next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      int end = (int) Math.min(tokens.length, (long) next + seqLen + 1);
      int[] window = Arrays.copyOfRange(tokens, next, end);
      next = end - 1;
      return new Prompt("", null, null, null, window).toJson();
    }
  }
}
