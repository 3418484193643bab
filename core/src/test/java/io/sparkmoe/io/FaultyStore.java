package io.sparkmoe.io;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.ObjLongConsumer;

/**
 * A store that fails on demand: after so many created files, so many written bytes, or with no
 * space at all.
 */
public final class FaultyStore implements Store {

  private final Store store;
  private long filesLeft = Long.MAX_VALUE;
  private long bytesLeft = Long.MAX_VALUE;
  private long usableBytes = -1;
  private Consumer<String> beforeCreate = path -> {};
  private ObjLongConsumer<String> onRead = (path, bytes) -> {};

  public FaultyStore(Store store) {
    this.store = store;
  }

  public FaultyStore failingAfterFiles(long files) {
    filesLeft = files;
    return this;
  }

  public FaultyStore failingAfterBytes(long bytes) {
    bytesLeft = bytes;
    return this;
  }

  /** Runs that with the path of every file that is about to be created, in the writer's thread. */
  public FaultyStore beforeCreating(Consumer<String> action) {
    beforeCreate = action;
    return this;
  }

  /** Runs that with a file's path and the number of bytes, in the reader's thread, after a read. */
  public FaultyStore onRead(ObjLongConsumer<String> action) {
    onRead = action;
    return this;
  }

  public FaultyStore withUsableBytes(long bytes) {
    usableBytes = bytes;
    return this;
  }

  @Override
  public String location() {
    return store.location();
  }

  @Override
  public AtomicOutputStream create(String path) throws IOException {
    beforeCreate.accept(path);
    if (filesLeft-- == 0) {
      throw new IOException("injected: no more files");
    }
    AtomicOutputStream out = store.create(path);
    return new AtomicOutputStream() {
      @Override
      protected void append(byte[] bytes, int offset, int length) throws IOException {
        bytesLeft -= length;
        if (bytesLeft < 0) {
          throw new IOException("injected: no space left on device");
        }
        out.write(bytes, offset, length);
      }

      @Override
      protected void commit() throws IOException {
        out.close();
      }

      @Override
      protected void discard() {
        out.abort();
      }
    };
  }

  @Override
  public InputStream open(String path, long offsetBytes) throws IOException {
    return new FilterInputStream(store.open(path, offsetBytes)) {
      @Override
      public int read() throws IOException {
        return told(super.read(), 1);
      }

      @Override
      public int read(byte[] bytes, int offset, int length) throws IOException {
        int n = super.read(bytes, offset, length);
        return told(n, n);
      }

      private int told(int result, int bytes) {
        if (result >= 0) {
          onRead.accept(path, bytes);
        }
        return result;
      }
    };
  }

  @Override
  public boolean exists(String path) throws IOException {
    return store.exists(path);
  }

  @Override
  public long size(String path) throws IOException {
    return store.size(path);
  }

  @Override
  public List<String> list(String folder) throws IOException {
    return store.list(folder);
  }

  @Override
  public void rename(String from, String to) throws IOException {
    store.rename(from, to);
  }

  @Override
  public void delete(String path) throws IOException {
    store.delete(path);
  }

  @Override
  public long usableBytes() throws IOException {
    return usableBytes >= 0 ? usableBytes : store.usableBytes();
  }
}
