package io.sparkmoe.io;

import java.io.IOException;
import java.io.OutputStream;

/**
 * A file that appears under its name only when it is complete. Bytes go to a pending name; {@link
 * #close} makes them durable and gives the file its name. After {@link #abort}, or when a write has
 * failed, {@link #close} leaves nothing.
 *
 * <p>try-with-resources also closes after an exception in its body, which would publish half a
 * file; where the body computes what it writes, use {@link Store#write}, which aborts then.
 */
public abstract class AtomicOutputStream extends OutputStream {

  private boolean closed;
  private boolean aborted;

  @Override
  public final void write(int value) throws IOException {
    write(new byte[] {(byte) value}, 0, 1);
  }

  @Override
  public final void write(byte[] bytes, int offset, int length) throws IOException {
    if (closed) {
      throw new IOException("the file is closed already");
    }
    try {
      append(bytes, offset, length);
    } catch (IOException | RuntimeException e) {
      aborted = true;
      throw e;
    }
  }

  /** Forgets the file: nothing of it stays, and a file that had its name before is untouched. */
  public final void abort() {
    aborted = true;
    try {
      close();
    } catch (IOException e) {
      // The pending file is hidden from every listing, so one that cannot be deleted costs space
      // and nothing else.
      assert aborted;
    }
  }

  @Override
  public final void close() throws IOException {
    if (closed) {
      return;
    }
    closed = true;
    if (aborted) {
      discard();
      return;
    }
    try {
      commit();
    } catch (IOException | RuntimeException e) {
      try {
        discard();
      } catch (IOException second) {
        e.addSuppressed(second);
      }
      throw e;
    }
  }

  /** Writes to the pending file. */
  protected abstract void append(byte[] bytes, int offset, int length) throws IOException;

  /** Makes the pending file durable, closes it and gives it its name. */
  protected abstract void commit() throws IOException;

  /** Closes the pending file, if it is open, and deletes it. */
  protected abstract void discard() throws IOException;
}
