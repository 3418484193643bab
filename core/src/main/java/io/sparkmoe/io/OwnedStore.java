package io.sparkmoe.io;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;

/**
 * A folder that belongs to one run at a time. {@link #take}, or else the first change, takes it
 * over from whoever had it; from then on every change is refused once another run has taken it.
 * Reading is free. The mark, {@value #MARK}, is in no listing.
 */
public final class OwnedStore implements Store {

  /** Name of the {@link OwnerMark} in the folder. */
  public static final String MARK = ".owner";

  private final Store store;
  private final OwnerMark mark;
  private boolean taken;

  /**
   * @param store the folder, closed with this
   */
  public OwnedStore(Store store) {
    this.store = store;
    this.mark = new OwnerMark(store, MARK, "");
  }

  /** Takes the folder; once is enough, and another run's is not taken back. */
  public synchronized void take() throws IOException {
    if (!taken) {
      mark.take();
      taken = true;
    }
  }

  @Override
  public synchronized void requireOurs() throws IOException {
    if (taken) {
      mark.requireOurs();
    }
  }

  private void beforeChange() throws IOException {
    take();
    requireOurs();
  }

  @Override
  public String location() {
    return store.location();
  }

  @Override
  public AtomicOutputStream create(String path) throws IOException {
    beforeChange();
    return store.create(path);
  }

  @Override
  public InputStream open(String path, long offsetBytes) throws IOException {
    return store.open(path, offsetBytes);
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
    List<String> names = store.list(folder);
    return folder.isEmpty() ? names.stream().filter(name -> !name.equals(MARK)).toList() : names;
  }

  @Override
  public void rename(String from, String to) throws IOException {
    beforeChange();
    store.rename(from, to);
  }

  @Override
  public void delete(String path) throws IOException {
    beforeChange();
    store.delete(path);
  }

  @Override
  public long usableBytes() throws IOException {
    return store.usableBytes();
  }

  @Override
  public void close() throws IOException {
    store.close();
  }
}
