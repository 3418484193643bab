package io.sparkmoe.spark.data;

import io.sparkmoe.io.AtomicOutputStream;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.UnsupportedFileSystemException;

/**
 * A folder on any Hadoop file system: HDFS, an object store, a shared mount. A file is written
 * under a pending name, synchronised and closed before it is renamed. Where a name is taken
 * already, {@link FileContext} replaces it in one operation on file systems that have one (HDFS);
 * on others the old file is deleted first.
 */
public final class HadoopStore implements Store {

  private final Path root;
  private final Configuration configuration;
  private final FileSystem files;

  /**
   * @param location folder with or without a scheme, which need not exist yet; without one it is on
   *     {@code fs.defaultFS}
   * @param configuration Hadoop's, as Spark passes it on
   * @throws IllegalArgumentException when a file has that name
   */
  public HadoopStore(String location, Configuration configuration) throws IOException {
    Path given = new Path(location);
    this.configuration = configuration;
    this.files = given.getFileSystem(configuration);
    this.root = files.makeQualified(given);
    requireFolder(files, root);
  }

  /**
   * A store for a folder as a person names it: of this machine's file system when the path or
   * {@code fs.defaultFS} says so (which can force files to the disk, and leaves no checksum files
   * beside them), else of Hadoop's.
   *
   * @throws IllegalArgumentException when a file has that name
   */
  public static Store open(String location, Configuration configuration) throws IOException {
    Path given = new Path(location);
    FileSystem files = given.getFileSystem(configuration);
    Path qualified = files.makeQualified(given);
    requireFolder(files, qualified);
    if (qualified.toUri().getScheme().equals("file")) {
      return new LocalStore(java.nio.file.Path.of(qualified.toUri().getPath()));
    }
    return new HadoopStore(location, configuration);
  }

  private static void requireFolder(FileSystem files, Path root) throws IOException {
    try {
      if (files.getFileStatus(root).isFile()) {
        throw new IllegalArgumentException(
            "not a folder: " + root + " is a file, expected a folder; name another one");
      }
    } catch (FileNotFoundException e) {
      return; // it will be made when something is written
    }
  }

  @Override
  public String location() {
    return root.toString();
  }

  @Override
  public AtomicOutputStream create(String path) throws IOException {
    Path target = resolve(path);
    Path pending =
        new Path(target.getParent(), PENDING_PREFIX + target.getName() + "-" + UUID.randomUUID());
    return new HadoopFile(pending, target);
  }

  @Override
  public InputStream open(String path, long offsetBytes) throws IOException {
    FSDataInputStream in = files.open(resolve(path));
    try {
      in.seek(offsetBytes);
      return in;
    } catch (IOException | RuntimeException e) {
      in.close();
      throw e;
    }
  }

  @Override
  public boolean exists(String path) throws IOException {
    return files.exists(resolve(path));
  }

  @Override
  public long size(String path) throws IOException {
    return files.getFileStatus(resolve(path)).getLen();
  }

  @Override
  public List<String> list(String folder) throws IOException {
    try {
      Path listed = folder.isEmpty() ? root : resolve(folder);
      if (!files.getFileStatus(listed).isDirectory()) {
        return List.of();
      }
      return Arrays.stream(files.listStatus(listed))
          .map(status -> status.getPath().getName())
          .filter(name -> !name.startsWith(PENDING_PREFIX))
          .sorted()
          .toList();
    } catch (FileNotFoundException e) {
      return List.of();
    }
  }

  @Override
  public void rename(String from, String to) throws IOException {
    Path source = resolve(from);
    Path target = resolve(to);
    FileStatus status = files.getFileStatus(source);
    if (files.exists(target)) {
      throw new FileAlreadyExistsException(
          target + " exists already, " + status.getPath() + " cannot take its name");
    }
    files.mkdirs(target.getParent());
    move(source, target);
  }

  @Override
  public void delete(String path) throws IOException {
    Path target = resolve(path);
    if (!files.delete(target, true) && files.exists(target)) {
      throw new IOException("cannot delete " + target + ", the file system refused");
    }
  }

  @Override
  public long usableBytes() throws IOException {
    Path existing = root;
    while (existing.getParent() != null && !files.exists(existing)) {
      existing = existing.getParent();
    }
    long remaining = files.getStatus(existing).getRemaining();
    // Object stores answer with Long.MAX_VALUE, which is what the contract asks for. HDFS answers
    // with the bytes of its disks, which every replica takes some of.
    return remaining == Long.MAX_VALUE
        ? remaining
        : remaining / Math.max(1, files.getDefaultReplication(root));
  }

  private Path resolve(String path) {
    return new Path(root, Store.requireRelative(path));
  }

  /** {@link FileSystem#rename} says no by returning false. */
  private void move(Path source, Path target) throws IOException {
    if (!files.rename(source, target)) {
      throw new IOException(
          "cannot rename " + source + " to " + target + ", the file system refused");
    }
  }

  private void replace(Path source, Path target) throws IOException {
    try {
      FileContext.getFileContext(target.toUri(), configuration)
          .rename(source, target, Options.Rename.OVERWRITE);
    } catch (UnsupportedFileSystemException e) {
      files.delete(target, false);
      move(source, target);
    }
  }

  private final class HadoopFile extends AtomicOutputStream {
    private final Path pending;
    private final Path target;
    private final FSDataOutputStream out;

    HadoopFile(Path pending, Path target) throws IOException {
      this.pending = pending;
      this.target = target;
      this.out = files.create(pending, false);
    }

    @Override
    protected void append(byte[] bytes, int offset, int length) throws IOException {
      out.write(bytes, offset, length);
    }

    @Override
    protected void commit() throws IOException {
      if (out.hasCapability("hsync")) {
        out.hsync();
      }
      out.close();
      if (files.exists(target)) {
        replace(pending, target);
      } else {
        move(pending, target);
      }
    }

    @Override
    protected void discard() throws IOException {
      try {
        out.close();
      } finally {
        files.delete(pending, false);
      }
    }
  }
}
