package io.sparkmoe.data;

import java.util.Arrays;

/** Texts as ids of tokens. */
public final class TokenIds {

  private TokenIds() {}

  /** One text after another. */
  public static int[] concat(int[] first, int[] second) {
    int[] ids = Arrays.copyOf(first, first.length + second.length);
    System.arraycopy(second, 0, ids, first.length, second.length);
    return ids;
  }
}
