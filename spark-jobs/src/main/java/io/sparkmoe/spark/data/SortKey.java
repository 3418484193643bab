package io.sparkmoe.spark.data;

/**
 * A group and a position inside it in one long, so that Spark sorts by the plain order of numbers:
 * the group in the upper 23 bits, the position in the lower 40.
 */
final class SortKey {

  private static final int POSITION_BITS = 40;

  /** Groups are below this. */
  static final int MAX_GROUPS = 1 << 23;

  private SortKey() {}

  static long of(int group, long position) {
    if (position >>> POSITION_BITS != 0) {
      throw new BadInputException(
          "input is too large: position " + position + " in one file or source, at most 2^40");
    }
    return (long) group << POSITION_BITS | position;
  }

  static int group(long key) {
    return (int) (key >>> POSITION_BITS);
  }
}
