package io.sparkmoe.io;

import java.io.IOException;
import java.util.Locale;

/** What is to be written would not fit; nothing was written. */
public final class InsufficientSpaceException extends IOException {

  private static final long serialVersionUID = 1L;

  /**
   * @param what is to be written
   * @param location where
   * @param neededBytes its size at most
   * @param usableBytes what is free
   * @param nextStep what a person can do
   */
  public InsufficientSpaceException(
      String what, String location, long neededBytes, long usableBytes, String nextStep) {
    super(
        "not enough space for "
            + what
            + ": "
            + location
            + " has "
            + megabytes(usableBytes)
            + " free, expected "
            + megabytes(neededBytes)
            + "; "
            + nextStep);
  }

  private static String megabytes(long bytes) {
    return String.format(Locale.ROOT, "%,d MB", (bytes + 999_999) / 1_000_000);
  }
}
