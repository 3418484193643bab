package io.sparkmoe.spark.cli;

/** Checks of option values that more than one command needs. */
final class Arguments {

  private Arguments() {}

  static int atLeast(int least, int value, String option) {
    if (value < least) {
      throw new IllegalArgumentException(
          "wrong " + option + ": got " + value + ", expected at least " + least + "; correct it");
    }
    return value;
  }
}
