package io.sparkmoe.train;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.checkpoint.CheckpointStore.Newest;
import io.sparkmoe.checkpoint.CheckpointWriter;
import io.sparkmoe.checkpoint.CheckpointWriter.RunState;
import io.sparkmoe.checkpoint.FileEntry;
import io.sparkmoe.checkpoint.WeightsDigest;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Checkpoints as the driver sees them: finds the one to start from, prepares a new one before the
 * ranks write, and commits it when they have. Without a store it does nothing and every run starts
 * from the beginning.
 */
final class DriverCheckpoint {

  private final RunConfig config;
  private final DataIdentity data;
  private final CheckpointStore checkpoints;
  private final int numRanks;
  private final List<String> notes = new ArrayList<>();
  private int resumedFromStep;
  private long tokensBefore;
  private int newestStep;
  private String storedBackend;

  /** Looks for the checkpoint that {@code settings} asks for; {@link #restore} loads from it. */
  DriverCheckpoint(RunConfig config, CoordinatorSettings settings, int numRanks)
      throws IOException {
    this.config = config;
    this.data = settings.data();
    this.numRanks = numRanks;
    this.checkpoints = settings.store() == null ? null : new CheckpointStore(settings.store());
    if (checkpoints == null || settings.resume().mode() == Resume.Mode.NEVER) {
      return;
    }
    try (CheckpointReader reader = find(settings.resume()).orElse(null)) {
      if (reader == null) {
        return;
      }
      notes.addAll(CheckpointState.requireCompatible(reader, config, data));
      resumedFromStep = reader.manifest().step();
      tokensBefore = CheckpointState.tokens(reader.state(), config.train());
      newestStep = resumedFromStep;
      storedBackend = reader.manifest().gemmBackend();
      notes.add("resuming after step " + resumedFromStep + " from " + reader.location());
      if (resumedFromStep == config.train().steps()) {
        notes.add("no step is left: evaluating and ending the run");
      }
      if (reader.manifest().numRanks() != numRanks) {
        notes.add(
            "the checkpoint was written by "
                + reader.manifest().numRanks()
                + " ranks, this run has "
                + numRanks
                + ": experts are dealt anew, error feedback of the gradient wire starts from zero");
      }
    }
  }

  /** Step that the run starts after, 0 = the beginning. */
  int resumedFromStep() {
    return resumedFromStep;
  }

  /** Tokens trained on by the end of a step that this run takes, earlier runs included. */
  long tokensAfter(int step) {
    return tokensBefore + (step - resumedFromStep) * config.train().tokensPerStep();
  }

  /**
   * Matrix library of the run that wrote the checkpoint; a resumed run keeps it for the sake of
   * equal bits.
   */
  Optional<String> gemmBackend() {
    return Optional.ofNullable(storedBackend);
  }

  /** What a user should know, one sentence each. */
  List<String> notes() {
    return notes;
  }

  /** Loads the gates, or draws their initial weights; checkpoints after that step go. */
  void restore(GateOwner gates) throws IOException {
    if (checkpoints != null) {
      checkpoints.deleteAfter(resumedFromStep);
    }
    if (resumedFromStep == 0) {
      gates.parameters().initialize(config.train().seed());
      return;
    }
    try (CheckpointReader reader = checkpoints.open(resumedFromStep)) {
      reader.readWeights(gates.parameters());
      reader.readMoments(gates.optimizer().moments());
    }
  }

  /** Clears the way for the ranks' files of that step. */
  void prepare(int step) throws IOException {
    checkpoints.prepare(
        step, CheckpointStore.expectedBytes(config.model(), config.train().precision().moments()));
  }

  /** Writes the gates and makes the ranks' files a checkpoint; then older ones go. */
  void commit(int step, GateOwner gates, String gemmBackend, List<FileEntry> ofRanks)
      throws IOException {
    CheckpointWriter writer = checkpoints.writer(step);
    List<FileEntry> files = new ArrayList<>(ofRanks);
    files.addAll(writer.writeGates(gates.parameters(), gates.optimizer().moments()));
    boolean last = step == config.train().steps();
    writer.commit(
        new RunState(
            config.model(),
            RunConfigJson.toJson(config),
            CheckpointState.of(config, step, tokensAfter(step), data),
            numRanks,
            gemmBackend,
            last),
        files);
    newestStep = step;
    // Read back before older ones go: storage that damages what it takes must not go unnoticed.
    checkpoints.openVerified(step).close();
    checkpoints.prune(config.train().keepCheckpoints());
  }

  /**
   * SHA-256 of the weights of the last checkpoint: as its commit computed it, or from its files
   * when it was no run's last one then.
   */
  String weightsSha256() throws IOException {
    try (CheckpointReader reader = checkpoints.open(newestStep)) {
      String stored = reader.manifest().weightsSha256();
      return stored == null ? WeightsDigest.of(reader) : stored;
    }
  }

  private Optional<CheckpointReader> find(Resume resume) throws IOException {
    if (resume.mode() == Resume.Mode.CHECKPOINT) {
      return Optional.of(checkpoints.openVerified(resume.step()));
    }
    Newest newest = checkpoints.newestValid();
    if (newest.checkpoint().isEmpty() && !newest.damaged().isEmpty()) {
      throw new IllegalArgumentException(
          "no checkpoint is whole: "
              + String.join("; ", newest.damaged())
              + "; repair one, or start in another folder");
    }
    newest.damaged().forEach(sentence -> notes.add("checkpoint passed over: " + sentence));
    return newest.checkpoint();
  }
}
