package io.sparkmoe.io;

import java.io.IOException;

/** A file was written by a later version than this one. */
public final class FormatTooNewException extends IOException {

  private static final long serialVersionUID = 1L;

  /**
   * @param file the file as a person would find it
   * @param version its format version
   * @param newestKnown the latest version that this program reads
   */
  public FormatTooNewException(String file, int version, int newestKnown) {
    super(
        file
            + " has format version "
            + version
            + ", this program reads up to "
            + newestKnown
            + "; update spark-moe to read it");
  }
}
