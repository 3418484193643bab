package io.sparkmoe.io;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;

/** A folder of this machine. Files are forced to the disk before they get their names. */
public final class LocalStore implements Store {

  private final Path root;

  /** The folder need not exist yet. */
  public LocalStore(Path root) {
    this.root = root.toAbsolutePath().normalize();
  }

  @Override
  public String location() {
    return root.toString();
  }

  @Override
  public AtomicOutputStream create(String path) throws IOException {
    Path target = resolve(path);
    Files.createDirectories(target.getParent());
    Path pending =
        target.resolveSibling(PENDING_PREFIX + target.getFileName() + "-" + UUID.randomUUID());
    return new LocalFile(pending, target);
  }

  @Override
  public InputStream open(String path, long offsetBytes) throws IOException {
    Path file = resolve(path);
    if (!Files.isRegularFile(file)) {
      throw new FileNotFoundException(describe(path) + " does not exist or is no file");
    }
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    try {
      return Channels.newInputStream(channel.position(offsetBytes));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  @Override
  public boolean exists(String path) {
    return Files.exists(resolve(path));
  }

  @Override
  public long size(String path) throws IOException {
    try {
      return Files.size(resolve(path));
    } catch (NoSuchFileException e) {
      throw new FileNotFoundException(describe(path) + " does not exist");
    }
  }

  @Override
  public List<String> list(String folder) throws IOException {
    try (Stream<Path> entries = Files.list(folder.isEmpty() ? root : resolve(folder))) {
      return entries
          .map(entry -> entry.getFileName().toString())
          .filter(name -> !name.startsWith(PENDING_PREFIX))
          .sorted()
          .toList();
    } catch (NoSuchFileException | NotDirectoryException e) {
      return List.of();
    }
  }

  @Override
  public void rename(String from, String to) throws IOException {
    Path target = resolve(to);
    Files.createDirectories(target.getParent());
    try {
      Files.move(resolve(from), target);
    } catch (NoSuchFileException e) {
      throw new FileNotFoundException(describe(from) + " does not exist");
    }
    forceFolder(target.getParent());
  }

  @Override
  public void delete(String path) throws IOException {
    Path start = resolve(path);
    if (!Files.exists(start)) {
      return;
    }
    Files.walkFileTree(
        start,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, IOException failure)
              throws IOException {
            if (failure != null) {
              throw failure;
            }
            Files.delete(folder);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  @Override
  public long usableBytes() throws IOException {
    Path existing = root;
    while (!Files.exists(existing) && existing.getParent() != null) {
      existing = existing.getParent();
    }
    return Files.getFileStore(existing).getUsableSpace();
  }

  private Path resolve(String path) {
    return root.resolve(Store.requireRelative(path));
  }

  /**
   * Makes a new name durable; some file systems refuse to open a folder, and then have nothing to
   * force.
   */
  private static void forceFolder(Path folder) {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      assert Files.isDirectory(folder);
    }
  }

  private static final class LocalFile extends AtomicOutputStream {
    private final Path pending;
    private final Path target;
    private final FileChannel channel;

    LocalFile(Path pending, Path target) throws IOException {
      this.pending = pending;
      this.target = target;
      this.channel =
          FileChannel.open(pending, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    }

    @Override
    protected void append(byte[] bytes, int offset, int length) throws IOException {
      ByteBuffer buffer = ByteBuffer.wrap(bytes, offset, length);
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
    }

    @Override
    protected void commit() throws IOException {
      channel.force(true);
      channel.close();
      Files.move(
          pending, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      forceFolder(target.getParent());
    }

    @Override
    protected void discard() throws IOException {
      channel.close();
      Files.deleteIfExists(pending);
    }
  }
}
