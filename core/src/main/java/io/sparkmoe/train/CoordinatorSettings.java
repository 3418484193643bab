package io.sparkmoe.train;

import io.sparkmoe.io.Store;

/**
 * What the coordinator is given besides the run's config.
 *
 * @param store folder of the run, null = write nothing
 * @param resume which checkpoint to start from
 * @param data what the run trains on, kept in checkpoints
 * @param validationRows number of validation rows, 0 = never evaluate
 * @param threads compute threads of the driver's gate and optimizer
 * @param memoryLimitBytes off-heap bytes that the driver may use
 */
public record CoordinatorSettings(
    Store store,
    Resume resume,
    DataIdentity data,
    int validationRows,
    int threads,
    long memoryLimitBytes) {

  /** The same with another start. */
  public CoordinatorSettings withResume(Resume other) {
    return new CoordinatorSettings(store, other, data, validationRows, threads, memoryLimitBytes);
  }

  /**
   * Where a run starts.
   *
   * @param step of the checkpoint, where the mode asks for one
   */
  public record Resume(Mode mode, int step) {

    /** How the checkpoint is chosen. */
    public enum Mode {
      AUTO,
      NEVER,
      CHECKPOINT
    }

    /** From the newest valid checkpoint, or the beginning. */
    public static Resume auto() {
      return new Resume(Mode.AUTO, 0);
    }

    /** From the beginning. */
    public static Resume never() {
      return new Resume(Mode.NEVER, 0);
    }

    /** From the checkpoint of that step. */
    public static Resume from(int step) {
      return new Resume(Mode.CHECKPOINT, step);
    }
  }
}
