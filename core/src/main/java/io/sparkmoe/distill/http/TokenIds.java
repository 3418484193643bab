package io.sparkmoe.distill.http;

import io.sparkmoe.data.Vocabulary;
import io.sparkmoe.distill.http.Reply.Chance;
import io.sparkmoe.distill.http.Reply.Token;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/**
 * Finds the ids of tokens that an endpoint gives as text. They count only when the tokens are the
 * answer, byte for byte, and every one of them is in the vocabulary: one that is missing shows that
 * the teacher has another tokenizer.
 */
final class TokenIds {

  private static final int UNKNOWN = -1;

  private final Vocabulary vocabulary;

  /**
   * @param vocabulary of the teacher's tokenizer
   */
  TokenIds(Vocabulary vocabulary) {
    this.vocabulary = vocabulary;
  }

  /** Ids of the tokens of an answer, (N), or null when they are not known. */
  int[] ofAnswer(List<Token> tokens, String answer) {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    int[] ids = new int[tokens.size()];
    for (int i = 0; i < ids.length; i++) {
      byte[] bytes = tokens.get(i).sampled().bytes();
      ids[i] = vocabulary.idOf(bytes);
      if (ids[i] == UNKNOWN) {
        return null;
      }
      text.writeBytes(bytes);
    }
    // Some endpoints end with the token that ends the answer, which is no part of the text.
    byte[] written = text.toByteArray();
    byte[] expected = answer.getBytes(StandardCharsets.UTF_8);
    boolean begins =
        written.length >= expected.length
            && Arrays.equals(written, 0, expected.length, expected, 0, expected.length);
    return begins && endsWithin(tokens, expected.length) ? ids : null;
  }

  /** Whether at most the last token lies behind the answer's end. */
  private static boolean endsWithin(List<Token> tokens, int answerBytes) {
    int before = 0;
    for (int i = 0; i < tokens.size() - 1; i++) {
      before += tokens.get(i).sampled().bytes().length;
    }
    int last = tokens.isEmpty() ? 0 : tokens.get(tokens.size() - 1).sampled().bytes().length;
    return before + last == answerBytes || before == answerBytes;
  }

  /** Ids of the alternatives, (N, K), or null when one is not known. */
  int[][] ofAlternatives(List<Token> tokens) {
    int[][] ids = new int[tokens.size()][];
    for (int i = 0; i < ids.length; i++) {
      List<Chance> alternatives = tokens.get(i).alternatives();
      ids[i] = new int[alternatives.size()];
      for (int k = 0; k < ids[i].length; k++) {
        ids[i][k] = vocabulary.idOf(alternatives.get(k).bytes());
        if (ids[i][k] == UNKNOWN) {
          return null;
        }
      }
    }
    return ids;
  }
}
