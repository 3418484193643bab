package io.sparkmoe.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.OwnedStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Set;

/**
 * The folder that a run leaves behind: what it may hold before, and what is written besides metrics
 * and checkpoints. It belongs to the run that began last.
 */
public final class RunFolder {

  /** The resolved config, origins included. */
  public static final String CONFIG_FILE = "config.yaml";

  /** The tokenizer of the run's dataset. */
  public static final String TOKENIZER_FILE = "tokenizer.json";

  /** A dataset that was prepared into the run's folder; it may be there before the run. */
  public static final String DATA_FOLDER = "data";

  /**
   * Says that {@code moe quickstart} began in the folder when it was empty, so that {@link
   * #DATA_FOLDER} is its own; may be there before the run.
   */
  public static final String QUICKSTART_FILE = "quickstart.txt";

  /** What a person reads of a finished run, where its command writes a report. */
  public static final String REPORT_FILE = "report.txt";

  private static final Set<String> PRESENT_BEFORE_A_RUN = Set.of(DATA_FOLDER, QUICKSTART_FILE);

  private static final ObjectMapper JSON = new ObjectMapper();

  private final OwnedStore store;

  public RunFolder(Store store) {
    this.store = new OwnedStore(store);
  }

  /** The files of the folder; once another run has begun in it, they may only be read. */
  public Store store() {
    return store;
  }

  /**
   * Takes the folder over from whoever had it, before a checkpoint is chosen, which the other might
   * delete.
   */
  public void begin() throws IOException {
    store.take();
  }

  /**
   * Whether the folder holds a run of that many steps or more that came to its end; one whose last
   * checkpoint is committed but whose summary is missing did not.
   */
  public boolean isFinished(int steps) throws IOException {
    return finishedSteps() >= steps;
  }

  /** Steps of the run that came to its end here, -1 without one. */
  private int finishedSteps() throws IOException {
    if (!store.exists(RunSummary.FILE)) {
      return -1;
    }
    JsonNode steps;
    try {
      steps = JSON.readTree(store.readText(RunSummary.FILE)).path("steps");
    } catch (JsonProcessingException e) {
      throw damagedSummary("it is not JSON", e);
    }
    if (!steps.isInt()) {
      throw damagedSummary("it does not say how many steps the run has", null);
    }
    return steps.intValue();
  }

  private CorruptFileException damagedSummary(String problem, Throwable cause) {
    return new CorruptFileException(
        store.describe(RunSummary.FILE),
        problem
            + ", expected the summary of a finished run; delete it, the run then ends again and"
            + " writes it anew",
        cause);
  }

  /**
   * Refuses a folder that cannot take this run; writes nothing. A run that was stopped after the
   * commit of its last step may go on: what it lacks is its end.
   *
   * @param data what the run trains on
   * @throws IllegalArgumentException in one sentence
   * @throws io.sparkmoe.io.InsufficientSpaceException when not one checkpoint finds room
   */
  public void requireRoomFor(RunConfig config, DataIdentity data, Resume resume)
      throws IOException {
    boolean holdsRun = store.exists(CONFIG_FILE);
    List<String> present =
        store.list("").stream().filter(name -> !PRESENT_BEFORE_A_RUN.contains(name)).toList();
    if (!holdsRun && !present.isEmpty()) {
      throw new IllegalArgumentException(
          "--out "
              + store.location()
              + " holds "
              + present.get(0)
              + " and is no run's folder, expected an empty or new folder; name another one");
    }
    if (holdsRun && resume.mode() == Resume.Mode.NEVER) {
      throw new IllegalArgumentException(
          "--out "
              + store.location()
              + " holds another run, --resume never needs an empty or new folder; name another"
              + " one, or resume");
    }
    MetricsLog.requireWhole(store);
    CheckpointStore checkpoints = new CheckpointStore(store);
    requireUnfinished(config.train().steps(), resume);
    if (resume.mode() == Resume.Mode.CHECKPOINT) {
      try (CheckpointReader reader = checkpoints.open(resume.step())) {
        CheckpointState.requireCompatible(reader, config, data);
      }
    } else {
      requireNewestCompatible(checkpoints, config, data);
    }
    checkpoints.requireSpace(
        "a checkpoint", CheckpointStore.expectedBytes(config.model(), DType.F32));
  }

  /** A finished run may only be taken up from an earlier step. */
  private void requireUnfinished(int steps, Resume resume) throws IOException {
    boolean fromItsEnd = resume.mode() != Resume.Mode.CHECKPOINT || resume.step() >= steps;
    if (!fromItsEnd) {
      return;
    }
    int finished = finishedSteps();
    if (finished >= steps) {
      throw new IllegalArgumentException(
          "--out "
              + store.location()
              + " holds a run that has finished its "
              + finished
              + " steps, train.steps is "
              + steps
              + "; raise train.steps to train on");
    }
  }

  /**
   * Only the description of a checkpoint is read here: its manifest, and the small files that are
   * compared, each checked against it. Damaged ones are passed over; the run names them when it
   * looks for its start, which is also where the tensors are verified, once.
   */
  private static void requireNewestCompatible(
      CheckpointStore checkpoints, RunConfig config, DataIdentity data) throws IOException {
    List<Integer> steps = checkpoints.committedSteps();
    Collections.reverse(steps);
    for (int step : steps) {
      try (CheckpointReader reader = checkpoints.open(step)) {
        CheckpointState.requireCompatible(reader, config, data);
        return;
      } catch (CorruptFileException e) {
        continue;
      }
    }
  }

  /**
   * Writes what the run is made from; from now on the folder's run is not finished, and nothing
   * tells of an earlier one that was.
   */
  public void writeInputs(String configYaml, String tokenizerJson) throws IOException {
    store.delete(RunSummary.FILE);
    store.delete(REPORT_FILE);
    store.writeText(CONFIG_FILE, configYaml);
    store.writeText(TOKENIZER_FILE, tokenizerJson);
  }

  /** Writes the summary, the last file of a finished run. */
  public void writeSummary(RunSummary summary) throws IOException {
    store.writeText(
        RunSummary.FILE, JSON.writerWithDefaultPrettyPrinter().writeValueAsString(summary) + "\n");
  }
}
