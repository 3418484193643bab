package io.sparkmoe.train;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.checkpoint.CheckpointWriter;
import io.sparkmoe.checkpoint.FileEntry;
import io.sparkmoe.checkpoint.Moments;
import io.sparkmoe.io.Store;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * A rank's share of a checkpoint: its experts, on rank 0 the replicated part, and what its reducer
 * carries over.
 */
final class RankCheckpoint {

  private RankCheckpoint() {}

  /** Writes the rank's files of that step. */
  static List<FileEntry> write(Store store, int step, int rank, int numRanks, RankState state)
      throws IOException {
    CheckpointWriter writer = new CheckpointStore(store).writer(step);
    Moments moments = state.optimizer().moments();
    List<FileEntry> files =
        new ArrayList<>(writer.writeExperts(rank, numRanks, state.parameters(), moments));
    if (rank == 0) {
      files.addAll(writer.writeReplicated(state.parameters(), moments));
    }
    Map<String, Tensor> residuals = residuals(state);
    if (!residuals.isEmpty()) {
      files.add(writer.writeResidual(rank, residuals));
    }
    return files;
  }

  /**
   * Reads what this rank holds, whoever wrote it. Residuals of the reducer belong to a rank of the
   * same number among as many; with another number of ranks they start from zero.
   */
  static void read(Store store, int step, int rank, int numRanks, RankState state)
      throws IOException {
    try (CheckpointReader reader = new CheckpointStore(store).open(step)) {
      reader.readWeights(state.parameters());
      reader.readMoments(state.optimizer().moments());
      Map<String, Tensor> residuals = residuals(state);
      if (!residuals.isEmpty()
          && reader.manifest().numRanks() == numRanks
          && reader.hasResidual(rank)) {
        reader.readResidual(rank, residuals);
      }
    }
  }

  private static Map<String, Tensor> residuals(RankState state) {
    Map<String, Tensor> byName = new TreeMap<>();
    int index = 0;
    for (Tensor residual : state.reducer().residuals()) {
      byName.put(String.format(Locale.ROOT, "residual.%05d", index++), residual);
    }
    return byName;
  }
}
