package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.sparkmoe.checkpoint.CheckpointWriter.RunState;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.ModelConfig.MtpHidden;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import java.io.IOException;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** Writes checkpoints of a tiny model with every kind of layer as so many ranks and a driver do. */
final class CheckpointFixture {

  static final ModelConfig MODEL = withWidth(8, 12);

  static final long FIRST_SEED = 1000;
  static final long SECOND_SEED = 2000;

  private CheckpointFixture() {}

  static ModelConfig withWidth(int hiddenSize, int intermediateSize) {
    return new ModelConfig(
        11,
        hiddenSize,
        2,
        1,
        2,
        4,
        4,
        4,
        2,
        4,
        intermediateSize,
        4,
        6,
        2,
        3,
        2,
        1,
        2.5,
        true,
        1e-6,
        10_000,
        null,
        32,
        1,
        MtpHidden.POST_NORM,
        0.02);
  }

  /** Files of all ends, not committed. */
  static List<FileEntry> writeParts(Store store, int step, int numRanks, long seed, Arena arena)
      throws IOException {
    CheckpointWriter writer = new CheckpointStore(store).writer(step);
    List<FileEntry> files = new ArrayList<>();
    ExpertPlacement placement = new ExpertPlacement(MODEL.numRoutedExperts(), numRanks);
    for (int rank = 0; rank < numRanks; rank++) {
      try (Held held =
          new Held(placement, rank, EnumSet.of(Part.EXPERT, Part.REPLICATED), seed, arena)) {
        files.addAll(writer.writeExperts(rank, numRanks, held.weights, held.moments()));
        if (rank == 0) {
          files.addAll(writer.writeReplicated(held.weights, held.moments()));
        }
      }
    }
    try (Held held = new Held(placement, 0, EnumSet.of(Part.GATE), seed, arena)) {
      files.addAll(writer.writeGates(held.weights, held.moments()));
    }
    return files;
  }

  static void commit(Store store, int step, int numRanks, List<FileEntry> files)
      throws IOException {
    JsonNodeFactory json = JsonNodeFactory.instance;
    new CheckpointStore(store)
        .writer(step)
        .commit(
            new RunState(
                MODEL,
                json.objectNode().put("lr", 0.004),
                json.objectNode().put("nextRow", 16L * step),
                numRanks,
                "reference",
                true),
            files);
  }

  static void write(Store store, int step, int numRanks, long seed, Arena arena)
      throws IOException {
    CheckpointStore checkpoints = new CheckpointStore(store);
    checkpoints.prepare(step, CheckpointStore.expectedBytes(MODEL, DType.F32));
    commit(store, step, numRanks, writeParts(store, step, numRanks, seed, arena));
  }

  /**
   * Weights and two moments with values drawn by name from the seed, the same on whoever holds
   * them.
   */
  static final class Held implements AutoCloseable {
    final Parameters weights;
    final Parameters first;
    final Parameters second;

    Held(ExpertPlacement placement, int rank, Set<Part> parts, long seed, Arena arena) {
      weights = Parameters.allocate(MODEL, placement, rank, parts, DType.F32, true, arena);
      first = Parameters.allocate(MODEL, placement, rank, parts, DType.F32, false, arena);
      second = Parameters.allocate(MODEL, placement, rank, parts, DType.F32, false, arena);
      weights.initialize(seed);
      first.initialize(seed + FIRST_SEED);
      second.initialize(seed + SECOND_SEED);
    }

    Moments moments() {
      return Moments.of(
          weights, name -> first.find(name).value(), name -> second.find(name).value());
    }

    @Override
    public void close() {
      weights.close();
      first.close();
      second.close();
    }
  }
}
