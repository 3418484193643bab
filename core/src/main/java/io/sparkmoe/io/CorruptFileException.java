package io.sparkmoe.io;

import java.io.IOException;

/**
 * A file does not hold what its format promises: truncated, damaged, or something else altogether.
 */
public final class CorruptFileException extends IOException {

  private static final long serialVersionUID = 1L;

  /**
   * @param file the file as a person would find it
   * @param problem what is wrong with it, actual against expected
   */
  public CorruptFileException(String file, String problem) {
    super(file + " is damaged: " + problem);
  }

  public CorruptFileException(String file, String problem, Throwable cause) {
    super(file + " is damaged: " + problem, cause);
  }
}
