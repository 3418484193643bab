package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.checkpoint.CheckpointStore.Newest;
import io.sparkmoe.io.Store;
import java.io.IOException;
import java.io.PrintStream;

/** Finds the checkpoint that {@code --checkpoint} means. */
final class CheckpointFolder {

  private CheckpointFolder() {}

  /**
   * Opens and verifies the folder itself, or the newest whole checkpoint of a run's folder.
   *
   * @param store over the folder
   * @param folder as the user named it
   * @param out hears of damaged checkpoints that are passed over
   */
  static CheckpointReader open(Store store, String folder, PrintStream out) throws IOException {
    if (CheckpointReader.isCommitted(store, "")) {
      return CheckpointReader.openVerified(store, "");
    }
    Newest newest = new CheckpointStore(store).newestValid();
    newest.damaged().forEach(out::println);
    return newest
        .checkpoint()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "--checkpoint "
                        + folder
                        + " holds no whole checkpoint, expected a checkpoint's or a run's"
                        + " folder; name another one"));
  }
}
