package io.sparkmoe.io;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A tree of files with the few operations that every Hadoop file system has. Paths are relative to
 * the root, parts joined by "/". Nothing relies on renaming folders or on the order of a listing.
 * Implementations run {@code StoreContract} in the tests.
 */
public interface Store extends AutoCloseable {

  /**
   * Names that start so are the store's own pending files: no listing shows them and no caller may
   * use them.
   */
  String PENDING_PREFIX = ".pending-";

  /** The root as a person would type it. */
  String location();

  /**
   * Opens a new file for writing, creating its folders. It appears under its name, replacing a file
   * there, only when it is closed and complete; a writer that dies leaves the name as it was.
   */
  AtomicOutputStream create(String path) throws IOException;

  /** Opens a file from its start; {@code FileNotFoundException} when it is missing. */
  default InputStream open(String path) throws IOException {
    return open(path, 0);
  }

  /** Opens a file at a byte offset; {@code FileNotFoundException} when it is missing. */
  InputStream open(String path, long offsetBytes) throws IOException;

  boolean exists(String path) throws IOException;

  /** Size in bytes; {@code FileNotFoundException} when it is missing. */
  long size(String path) throws IOException;

  /**
   * Names (not paths) of the files and folders directly under a folder, sorted; empty when there is
   * no such folder.
   */
  List<String> list(String folder) throws IOException;

  /**
   * Moves a file to a name that does not exist yet; throws when it does, or when the file system
   * says no.
   */
  void rename(String from, String to) throws IOException;

  /** Deletes a file or a folder with all that it holds; nothing when it does not exist. */
  void delete(String path) throws IOException;

  /** Free bytes where the root lives, or {@link Long#MAX_VALUE} when the file system cannot say. */
  long usableBytes() throws IOException;

  /**
   * Refuses to go on where another run has taken the root over; only an {@link OwnedStore} knows.
   */
  default void requireOurs() throws IOException {}

  @Override
  default void close() throws IOException {}

  /** What a file will hold. */
  @FunctionalInterface
  interface Content {
    void writeTo(OutputStream out) throws IOException;
  }

  /** Writes a whole file, or leaves none when {@code content} throws. */
  default void write(String path, Content content) throws IOException {
    try (AtomicOutputStream out = create(path)) {
      try {
        content.writeTo(out);
      } catch (IOException | RuntimeException | Error e) {
        out.abort();
        throw e;
      }
    }
  }

  /** Writes a whole UTF-8 file. */
  default void writeText(String path, String text) throws IOException {
    write(path, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
  }

  /** A whole small UTF-8 file. */
  default String readText(String path) throws IOException {
    try (InputStream in = open(path)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  /** The file or folder as a person would find it. */
  default String describe(String path) {
    return path.isEmpty() ? location() : location() + "/" + path;
  }

  /**
   * Refuses paths that could leave the root or meet a pending file.
   *
   * @return {@code path}
   */
  static String requireRelative(String path) {
    for (String part : path.split("/", -1)) {
      if (part.isEmpty()
          || part.equals(".")
          || part.equals("..")
          || part.startsWith(PENDING_PREFIX)) {
        throw new IllegalArgumentException(
            "a store path must be relative, parts joined by '/', got '" + path + "'");
      }
    }
    return path;
  }
}
