package io.sparkmoe.parallel;

/**
 * Bytes from another end are not what they must be; the message names the sender, the frame, actual
 * and expected.
 */
public final class CorruptFrameException extends RuntimeException {

  public CorruptFrameException(String message) {
    super(message);
  }
}
