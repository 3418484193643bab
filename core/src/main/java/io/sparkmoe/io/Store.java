package io.sparkmoe.io;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.List;

/**
 * A tree of files with the few operations that every Hadoop file system has. Paths are relative to
 * the root, parts joined by "/". Nothing relies on renaming folders or on the order of a listing.
 * Implementations run {@code StoreContract} in the tests.
 */
public interface Store extends AutoCloseable {

  /** The root as a person would type it. */
  String location();

  /**
   * Opens a new file for writing, creating its folders; replaces a file of that name when it is
   * closed.
   */
  OutputStream create(String path) throws IOException;

  /** Opens a file from its start; {@code FileNotFoundException} when it is missing. */
  InputStream open(String path) throws IOException;

  /** Opens a file at a byte offset. */
  InputStream open(String path, long offsetBytes) throws IOException;

  boolean exists(String path) throws IOException;

  /** Size in bytes. */
  long size(String path) throws IOException;

  /**
   * Names (not paths) of the files and folders directly under a folder, sorted; empty when it does
   * not exist.
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

  @Override
  default void close() throws IOException {}
}
