package io.sparkmoe.train;

import io.sparkmoe.checkpoint.FileEntry;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.KeepAlive;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.protocol.Protocol;
import io.sparkmoe.train.protocol.Protocol.Message;
import io.sparkmoe.train.protocol.RankReady;
import io.sparkmoe.train.protocol.RunStart;
import io.sparkmoe.train.protocol.StepCounts;
import io.sparkmoe.train.protocol.StepEnd;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import io.sparkmoe.train.protocol.StepOrder;
import io.sparkmoe.train.protocol.StepReport;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * The driver's side of a training run: owns the gates, decides learning rate, clipping, evaluation
 * and checkpoints from the ranks' reports, commits checkpoints and turns reports into metrics. One
 * {@link Worker} per rank is the other side.
 */
public final class Coordinator {

  private final RunConfig config;
  private final Communicator communicator;
  private final CoordinatorSettings settings;
  private final RunListener listener;
  private final int numRanks;
  private boolean begun;

  /**
   * @param communicator the driver's end
   * @param listener hears of every step, on the thread that runs
   */
  public Coordinator(
      RunConfig config,
      Communicator communicator,
      CoordinatorSettings settings,
      RunListener listener) {
    this.config = config;
    this.communicator = communicator;
    this.settings = settings;
    this.listener = listener;
    this.numRanks = communicator.size();
  }

  /** Whether the checkpoint to start from was loaded and later ones are gone. */
  public boolean hasBegun() {
    return begun;
  }

  /**
   * Leads the run to its last step.
   *
   * @throws FatalRunException when a loss or gradient is not finite
   * @throws IOException when a checkpoint cannot be read or written
   */
  public RunResult run() throws IOException {
    KeepAlive reading = keepAlive(config.cluster().checkpointDeadline());
    try {
      DriverCheckpoint checkpoints = new DriverCheckpoint(config, settings, numRanks);
      return run(checkpoints, reading);
    } finally {
      reading.close();
    }
  }

  /**
   * @param reading ends when the driver has read its checkpoint, which may take longer than a
   *     deadline
   */
  private RunResult run(DriverCheckpoint checkpoints, KeepAlive reading) throws IOException {
    String backend = checkpoints.gemmBackend().orElse(config.cluster().gemmBackend());
    DType inputs = config.train().precision().productInputs(backend);
    try (ComputeEngine engine = ComputeEngine.open("driver", backend, inputs, settings.threads());
        Arena arena = new Arena("driver", settings.memoryLimitBytes(), RankMemory.ADVICE);
        GateOwner gates = new GateOwner(config.model(), config.train(), engine.kernels(), arena);
        GateRole role = gateRole(gates, engine, arena)) {
      checkpoints.restore(gates);
      begun = true;
      try (RankInbox inbox = new RankInbox(communicator, role.calls())) {
        reading.close();
        List<String> notes = start(checkpoints, inbox, engine);
        listener.onStart(checkpoints.resumedFromStep(), notes);
        return lead(checkpoints, gates, role, inbox, engine);
      }
    }
  }

  private GateRole gateRole(GateOwner gates, ComputeEngine engine, Arena arena) {
    return config.cluster().gatePlacement() == GatePlacement.DRIVER
        ? new DriverGates(
            gates, communicator, config.train().precision().gateWire(), engine.gemmName(), arena)
        : new ExecutorGates(gates, communicator, arena);
  }

  /** Starts the ranks and waits until all are ready; returns what a user should know. */
  private List<String> start(DriverCheckpoint checkpoints, RankInbox inbox, ComputeEngine engine) {
    RunStart start =
        new RunStart(checkpoints.resumedFromStep(), engine.gemmName(), config.train().steps());
    tellAll(Message.START, 0, start);
    List<String> notes = new ArrayList<>(checkpoints.notes());
    notes.add(gemmNote(engine));
    checkpoints
        .gemmBackend()
        .filter(stored -> !stored.equals(engine.gemmName()))
        .ifPresent(stored -> notes.add(otherBackendNote(stored, engine.gemmName())));
    try (KeepAlive waiting = keepAliveWhileRanksWork()) {
      for (int rank = 0; rank < numRanks; rank++) {
        RankReady ready = inbox.next(rank, Message.READY, 0, RankReady.class);
        notes.add(communicator.describe(rank) + ": " + ready.kernels());
      }
    }
    return notes;
  }

  /**
   * Leads the steps. The ranks' word that the last one is over ends the run: whatever becomes of
   * them, all that they had to give is committed.
   */
  private RunResult lead(
      DriverCheckpoint checkpoints,
      GateOwner gates,
      GateRole role,
      RankInbox inbox,
      ComputeEngine engine)
      throws IOException {
    int from = checkpoints.resumedFromStep();
    int last = config.train().steps();
    StepMetricsBuilder metrics = new StepMetricsBuilder(config, communicator);
    List<StepMetrics> all = new ArrayList<>();
    Evaluation evaluation = from == last ? evaluateAgain(last, inbox) : null;
    for (int step = from + 1; step <= last; step++) {
      StepResult result = step(step, checkpoints, gates, role, inbox);
      StepMetrics line = metrics.build(step, checkpoints.tokensAfter(step), result);
      listener.onMetrics(line, result.order().checkpoint());
      if (result.order().checkpoint()) {
        commit(step, checkpoints, gates, engine, result.ends());
      }
      all.add(line);
      evaluation = result.evaluation();
      listener.onStep(line);
    }
    return new RunResult(
        last,
        checkpoints.tokensAfter(last),
        from,
        evaluation,
        settings.store() == null ? null : checkpoints.weightsSha256(),
        all);
  }

  /**
   * The evaluation of a run that was stopped between its last checkpoint and its end: no step is
   * left, and what the last one found was never told.
   */
  private Evaluation evaluateAgain(int last, RankInbox inbox) {
    boolean evaluate = settings.validationRows() > 0;
    tellAll(Message.ORDER, last, new StepOrder(0, 1, evaluate, false, null));
    try (KeepAlive waiting = keepAliveWhileRanksWork()) {
      return Evaluations.merge(ends(last, inbox));
    }
  }

  private StepResult step(
      int step, DriverCheckpoint checkpoints, GateOwner gates, GateRole role, RankInbox inbox)
      throws IOException {
    StepCounts counts = inbox.next(0, Message.COUNTS, step, StepCounts.class);
    for (int rank = 1; rank < numRanks; rank++) {
      counts = counts.plus(inbox.next(rank, Message.COUNTS, step, StepCounts.class));
    }
    tellAll(Message.COUNTS, step, counts);

    long[][] loads = new long[config.model().numMoeLayers()][config.model().numRoutedExperts()];
    List<StepReport> reports = new ArrayList<>();
    for (int rank = 0; rank < numRanks; rank++) {
      reports.add(inbox.next(rank, Message.REPORT, step, StepReport.class));
    }
    // A rank reports when its backward pass is over, so its gate calls are all answered by now.
    role.collect(step, inbox, loads);
    double squares = gates.sumOfSquares() + reports.get(0).replicatedSquares();
    for (StepReport report : reports) {
      squares += report.expertSquares();
    }
    double gradNorm = Math.sqrt(squares);
    StepOrder order = order(step, gradNorm, reports);
    if (order.failure() != null) {
      tellAll(Message.ORDER, step, order);
      throw new FatalRunException(order.failure());
    }
    if (order.checkpoint()) {
      checkpoints.prepare(step);
    }
    // Before the order, because a rank that evaluates asks the gates as soon as it has it.
    gates.update(step, order.learningRate(), order.gradientScale(), loads);
    tellAll(Message.ORDER, step, order);
    role.publish(step);

    List<StepEnd> ends;
    // Ranks that are done already wait for the others, at the next step.
    boolean longWork = order.checkpoint() || order.evaluate();
    try (KeepAlive waiting = longWork ? keepAliveWhileRanksWork() : null) {
      ends = ends(step, inbox);
    }
    return new StepResult(counts, reports, order, gradNorm, loads, ends, Evaluations.merge(ends));
  }

  /** Every rank's last word in a step. */
  private List<StepEnd> ends(int step, RankInbox inbox) {
    List<StepEnd> ends = new ArrayList<>();
    for (int rank = 0; rank < numRanks; rank++) {
      ends.add(inbox.next(rank, Message.END, step, StepEnd.class));
    }
    return ends;
  }

  private void commit(
      int step,
      DriverCheckpoint checkpoints,
      GateOwner gates,
      ComputeEngine engine,
      List<StepEnd> ends)
      throws IOException {
    List<FileEntry> files = ends.stream().flatMap(end -> end.files().stream()).toList();
    try (KeepAlive committing = keepAlive(config.cluster().checkpointDeadline())) {
      checkpoints.commit(step, gates, engine.gemmName(), files);
    }
  }

  private StepOrder order(int step, double gradNorm, List<StepReport> reports) {
    TrainConfig train = config.train();
    boolean last = step == train.steps();
    boolean evaluate = settings.validationRows() > 0 && (last || isDue(step, train.evalEvery()));
    boolean checkpoint = settings.store() != null && (last || isDue(step, train.checkpointEvery()));
    boolean clips = train.clipNorm() > 0 && gradNorm > train.clipNorm();
    // PyTorch's clip_grad_norm_ divides by norm + 1e-6.
    double scale = clips ? train.clipNorm() / (gradNorm + 1e-6) : 1;
    return new StepOrder(
        LearningRate.at(train, step),
        scale,
        evaluate,
        checkpoint,
        failure(step, gradNorm, reports));
  }

  private static String otherBackendNote(String stored, String available) {
    return "the checkpoint was computed with "
        + stored
        + ", which does not load here: going on with "
        + available
        + ", so the last bits will differ from an unbroken run's";
  }

  private static String gemmNote(ComputeEngine engine) {
    if (engine.gemmGflops().isEmpty()) {
      return "matrix library: " + engine.gemmName() + ", as the run asks for";
    }
    return "matrix library: "
        + engine.gemmName()
        + ", of "
        + engine.gemmGflops().entrySet().stream()
            .map(one -> String.format(Locale.ROOT, "%s %.0f GFLOP/s", one.getKey(), one.getValue()))
            .collect(Collectors.joining(", "))
        + " on one thread and "
        + engine.productInputs()
        + " inputs";
  }

  private static boolean isDue(int step, int every) {
    return every > 0 && step % every == 0;
  }

  private String failure(int step, double gradNorm, List<StepReport> reports) {
    for (int rank = 0; rank < numRanks; rank++) {
      String what = reports.get(rank).nonFinite();
      if (what != null) {
        return "training diverged: "
            + what
            + " is not finite at step "
            + step
            + " on "
            + communicator.describe(rank)
            + ", expected finite numbers; resume from the last checkpoint with a lower train.lr";
      }
    }
    if (!Double.isFinite(gradNorm)) {
      return "training diverged: the gradient norm is "
          + gradNorm
          + " at step "
          + step
          + ", expected a finite number; resume from the last checkpoint with a lower train.lr";
    }
    return null;
  }

  private KeepAlive keepAlive(Duration limit) {
    return new KeepAlive(communicator, config.cluster().deadline(), limit);
  }

  /**
   * For longer than any rank may be silent, so that the one that is late is named, not this end.
   */
  private KeepAlive keepAliveWhileRanksWork() {
    Duration silence = config.cluster().deadline().multipliedBy(3);
    return keepAlive(config.cluster().checkpointDeadline().plus(silence));
  }

  private void tellAll(Message message, int step, Object body) {
    for (int rank = 0; rank < numRanks; rank++) {
      Protocol.send(communicator, rank, message, step, body);
    }
  }
}
