package io.sparkmoe.tensor;

/** An allocation would pass the byte limit of its {@link Arena}. */
public final class OutOfArenaException extends RuntimeException {

  public OutOfArenaException(String message) {
    super(message);
  }
}
