package io.sparkmoe.checkpoint;

import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.InsufficientSpaceException;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.DType;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The checkpoints of a run, in {@code checkpoints/step-%08d} of its folder. A folder without a
 * manifest is no checkpoint: readers pass over it and the next writer removes it.
 *
 * <p>The order of a write: the driver calls {@link #prepare}; every end writes its files with a
 * {@link #writer}; the driver commits, then {@link #prune}s.
 */
public final class CheckpointStore {

  /** Name of the folder that holds all checkpoints of a run. */
  public static final String FOLDER = "checkpoints";

  private static final Pattern STEP_FOLDER = Pattern.compile("step-(\\d{8,9})");

  /** Bytes that headers, the index and the file system's blocks may add to a tensor. */
  private static final long OVERHEAD_BYTES_PER_TENSOR = 1024;

  private final Store store;

  /** Steps whose checkpoint this object has verified after it was committed. */
  private final Set<Integer> verified = new HashSet<>();

  /**
   * @param store the run's folder
   */
  public CheckpointStore(Store store) {
    this.store = store;
  }

  /**
   * The newest checkpoint that is whole, and what was passed over on the way to it.
   *
   * @param checkpoint open reader for the caller to close; empty when there is none
   * @param damaged one sentence for every newer checkpoint that is damaged
   */
  public record Newest(Optional<CheckpointReader> checkpoint, List<String> damaged) {}

  /** Folder of a step's checkpoint in the run's folder. */
  public static String folder(int step) {
    return String.format(Locale.ROOT, "%s/step-%08d", FOLDER, step);
  }

  /** Steps that have a manifest, ascending. */
  public List<Integer> committedSteps() throws IOException {
    List<Integer> steps = new ArrayList<>();
    for (int step : steps()) {
      if (CheckpointReader.isCommitted(store, folder(step))) {
        steps.add(step);
      }
    }
    return steps;
  }

  /** Opens a step's checkpoint without verifying it. */
  public CheckpointReader open(int step) throws IOException {
    return CheckpointReader.open(store, folder(step));
  }

  /**
   * Opens a step's checkpoint and verifies it.
   *
   * @throws CorruptFileException naming the first file that is not as the manifest says
   */
  public CheckpointReader openVerified(int step) throws IOException {
    CheckpointReader reader = CheckpointReader.openVerified(store, folder(step));
    verified.add(step);
    return reader;
  }

  /** Verifies from the newest checkpoint backwards until one is whole. */
  public Newest newestValid() throws IOException {
    List<String> damaged = new ArrayList<>();
    List<Integer> steps = committedSteps();
    Collections.reverse(steps);
    for (int step : steps) {
      try {
        return new Newest(Optional.of(openVerified(step)), damaged);
      } catch (CorruptFileException e) {
        damaged.add(e.getMessage());
      }
    }
    return new Newest(Optional.empty(), damaged);
  }

  /**
   * Clears the way for a checkpoint: removes folders that were never committed and checks the free
   * space. Only the driver calls it, before anybody writes, in a folder that is still its run's.
   *
   * @param expectedBytes as {@link #expectedBytes} says
   * @throws InsufficientSpaceException when the space does not suffice; nothing is written then
   */
  public void prepare(int step, long expectedBytes) throws IOException {
    store.requireOurs();
    if (CheckpointReader.isCommitted(store, folder(step))) {
      throw new IllegalStateException(
          "the checkpoint of step " + step + " in " + store.location() + " exists already");
    }
    for (int found : steps()) {
      if (!CheckpointReader.isCommitted(store, folder(found))) {
        store.delete(folder(found));
      }
    }
    requireSpace("the checkpoint of step " + step, expectedBytes);
  }

  /**
   * Refuses a file system that is too full; writes nothing.
   *
   * @param what is to be written, in words
   * @param expectedBytes as {@link #expectedBytes} says
   */
  public void requireSpace(String what, long expectedBytes) throws IOException {
    long usable = store.usableBytes();
    if (usable < expectedBytes) {
      throw new InsufficientSpaceException(
          what,
          store.location(),
          expectedBytes,
          usable,
          "free some space or lower train.keep_checkpoints");
    }
  }

  /** A writer of this end for a step that the driver has prepared. */
  public CheckpointWriter writer(int step) {
    verified.remove(step);
    return new CheckpointWriter(store, folder(step), step);
  }

  /** Deletes every checkpoint later than {@code step}, for a run that goes on from there. */
  public void deleteAfter(int step) throws IOException {
    for (int found : steps()) {
      if (found > step) {
        delete(found);
      }
    }
  }

  /**
   * Deletes checkpoints older than the newest {@code keep} that are whole. Each of those is
   * verified first, once by this object; a damaged one does not count, so the last good ones are
   * never deleted.
   */
  public void prune(int keep) throws IOException {
    if (keep < 1) {
      throw new IllegalArgumentException("at least one checkpoint must be kept, got " + keep);
    }
    List<Integer> steps = committedSteps();
    Collections.reverse(steps);
    int whole = 0;
    for (int step : steps) {
      if (whole == keep) {
        delete(step);
      } else if (isWhole(step)) {
        whole++;
      }
    }
  }

  /** Upper bound of a checkpoint's size with two moments per weight. */
  public static long expectedBytes(ModelConfig model, DType moments) {
    return Parameters.shapes(model).stream()
        .mapToLong(
            shape ->
                shape.numElements() * (DType.F32.sizeBytes() + 2L * moments.sizeBytes())
                    + 3 * OVERHEAD_BYTES_PER_TENSOR)
        .sum();
  }

  static String join(String folder, String file) {
    return folder.isEmpty() ? file : folder + "/" + file;
  }

  private boolean isWhole(int step) throws IOException {
    if (verified.contains(step)) {
      return true;
    }
    try {
      openVerified(step).close();
      return true;
    } catch (IOException e) { // damaged, or not to be read now
      return false;
    }
  }

  /**
   * The manifest goes first, so that a deletion cut short leaves no checkpoint with missing files.
   */
  private void delete(int step) throws IOException {
    store.delete(join(folder(step), Manifest.FILE));
    store.delete(folder(step));
    verified.remove(step);
  }

  private List<Integer> steps() throws IOException {
    List<Integer> steps = new ArrayList<>();
    for (String name : store.list(FOLDER)) {
      Matcher matcher = STEP_FOLDER.matcher(name);
      if (matcher.matches()) {
        steps.add(Integer.parseInt(matcher.group(1)));
      }
    }
    Collections.sort(steps);
    return steps;
  }
}
