package io.sparkmoe.io;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.UUID;

/**
 * A file that says which run a folder belongs to: the one that took it last. A run that is killed
 * leaves its mark, so none is refused for one that is there; the run before finds the other's mark
 * when it reads its own again, and stops.
 */
public final class OwnerMark {

  private final Store store;
  private final String file;
  private final String owner;
  private final String text;

  /**
   * The mark of a run that begins now; nothing is written yet.
   *
   * @param file name of the mark
   * @param note line for whoever reads the file, empty = none
   */
  public OwnerMark(Store store, String file, String note) {
    this.store = store;
    this.file = file;
    this.owner =
        "process "
            + ProcessHandle.current().pid()
            + " on "
            + host()
            + " at "
            + Instant.now().truncatedTo(ChronoUnit.SECONDS);
    this.text = owner + "\nrun " + UUID.randomUUID() + "\n" + (note.isEmpty() ? "" : note + "\n");
  }

  /** The folder belongs to this run from now on. */
  public void take() throws IOException {
    store.writeText(file, text);
  }

  /**
   * Refuses to go on in a folder that another run has taken since.
   *
   * @throws IOException saying where that run is and when it took the folder
   */
  public void requireOurs() throws IOException {
    String found = read();
    if (text.equals(found)) {
      return;
    }
    throw new IOException(
        "another run took this one's folder: "
            + store.location()
            + (found == null
                ? " has no " + file + " any more"
                : " was taken by " + found.lines().findFirst().orElse("an empty " + file))
            + ", expected it to stay with "
            + owner
            + "; run one at a time, or give each its own folder");
  }

  /** The folder belongs to no run any more. */
  public void remove() throws IOException {
    store.delete(file);
  }

  /** What the mark says, null = there is none. */
  private String read() throws IOException {
    try {
      return store.readText(file);
    } catch (FileNotFoundException e) {
      return null;
    }
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "a host without a name";
    }
  }
}
