package io.sparkmoe.train;

import io.sparkmoe.checkpoint.FileEntry;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.LossScales;
import io.sparkmoe.model.Losses;
import io.sparkmoe.model.Part;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.KeepAlive;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.train.protocol.Protocol;
import io.sparkmoe.train.protocol.Protocol.Message;
import io.sparkmoe.train.protocol.RankReady;
import io.sparkmoe.train.protocol.RunStart;
import io.sparkmoe.train.protocol.StepCounts;
import io.sparkmoe.train.protocol.StepEnd;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import io.sparkmoe.train.protocol.StepOrder;
import io.sparkmoe.train.protocol.StepReport;
import io.sparkmoe.train.protocol.WireQuality;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/**
 * One rank of a training run: trains its slice of every batch, owns its experts, and does what the
 * {@link Coordinator} orders. The same class runs in a thread of a local run and in a barrier task
 * on Spark.
 */
public final class Worker {

  private final RunConfig config;
  private final Communicator communicator;
  private final WorkerSettings settings;
  private final BatchAssembler assembler;
  private final int passes;
  private final PhaseClock clock = new PhaseClock(Phase.CONTROL);
  private long[] sentBefore;

  /**
   * @param communicator this rank's end
   */
  public Worker(RunConfig config, Communicator communicator, WorkerSettings settings) {
    this.config = config;
    this.communicator = communicator;
    this.settings = settings;
    this.assembler =
        new BatchAssembler(
            config.train().seqLen(), config.model().numMtpModules(), config.distill());
    this.passes =
        MicroBatches.passes(
            largestSlice(config.train().batchSequences()), config.train().microBatchSequences());
    this.sentBefore = communicator.sentBytes();
  }

  /**
   * Runs until the coordinator's last step is done.
   *
   * @throws FatalRunException when the coordinator stops the run
   * @throws IOException when a checkpoint cannot be read or written
   */
  public void run() throws IOException {
    RunStart start =
        Protocol.receive(communicator, Communicator.DRIVER, Message.START, 0, RunStart.class);
    String name = "rank " + communicator.rank();
    DType inputs = config.train().precision().productInputs(start.gemmBackend());
    try (ComputeEngine engine =
            ComputeEngine.open(name, start.gemmBackend(), inputs, settings.threads());
        Arena arena = new Arena(name, settings.memoryLimitBytes(), RankMemory.ADVICE);
        RankState state = new RankState(config, communicator, engine.kernels(), arena, clock)) {
      requireBackend(engine, start.gemmBackend());
      int from = start.resumedFromStep();
      if (from == 0) {
        state.parameters().initialize(config.train().seed());
      } else {
        try (KeepAlive reading = keepAlive()) {
          RankCheckpoint.read(
              settings.store(), from, communicator.rank(), communicator.size(), state);
        }
      }
      tell(Message.READY, 0, new RankReady(describe(engine)));
      if (from == start.lastStep()) {
        evaluateAgain(from, state, arena);
      }
      for (int step = from + 1; step <= start.lastStep(); step++) {
        trainStep(step, step == start.lastStep(), state, arena);
      }
    }
  }

  /** Another matrix library would give other last bits, silently. */
  private void requireBackend(ComputeEngine engine, String expected) {
    if (!engine.gemmName().equals(expected)) {
      throw new FatalRunException(
          "cannot compute as the driver does: "
              + communicator.describe(communicator.rank())
              + " can load the matrix library "
              + engine.gemmName()
              + " only, expected "
              + expected
              + "; set cluster.gemm_backend="
              + engine.gemmName());
    }
  }

  private static String describe(ComputeEngine engine) {
    return engine.gemmName() + ", " + engine.parallel().threads() + " threads";
  }

  private void trainStep(int step, boolean last, RankState state, Arena arena) throws IOException {
    clock.enter(Phase.DATA);
    List<TokenRow> rows = settings.training().rowsOf(step);
    StepCounts counts = exchangeCounts(step, rows);
    state.countRounding(step);
    Losses losses = forwardBackward(step, rows, counts, state, arena);
    StepReport report = reduce(step, losses, state);
    clock.enter(Phase.CONTROL);
    tell(Message.REPORT, step, report);
    if (state.localGate() != null) {
      GateExchange.sendReport(communicator, step, state.gateLoads(), state.parameters());
    }
    StepOrder order =
        Protocol.receive(communicator, Communicator.DRIVER, Message.ORDER, step, StepOrder.class);
    if (order.failure() != null) {
      throw new FatalRunException(order.failure());
    }
    clock.enter(Phase.OPTIMIZER);
    state.optimize(step, order.learningRate(), order.gradientScale());
    if (state.localGate() != null) {
      clock.enter(Phase.CONTROL);
      GateExchange.receiveSnapshot(communicator, step, state.parameters());
      state.resetGate();
    }
    Evaluation evaluation = order.evaluate() ? evaluate(step, last, state, arena) : null;
    List<FileEntry> files = List.of();
    if (order.checkpoint()) {
      clock.enter(Phase.CHECKPOINT);
      try (KeepAlive writing = keepAlive()) {
        files =
            RankCheckpoint.write(
                settings.store(), step, communicator.rank(), communicator.size(), state);
      }
    }
    tellEnd(step, evaluation, files);
  }

  /** The end of a run whose last step was done before; see {@link Coordinator}. */
  private void evaluateAgain(int step, RankState state, Arena arena) {
    StepOrder order =
        Protocol.receive(communicator, Communicator.DRIVER, Message.ORDER, step, StepOrder.class);
    tellEnd(step, order.evaluate() ? evaluate(step, true, state, arena) : null, List.of());
  }

  private void tellEnd(int step, Evaluation evaluation, List<FileEntry> files) {
    clock.enter(Phase.CONTROL);
    tell(
        Message.END,
        step,
        new StepEnd(
            clock.lapSeconds(), sentSinceLast(), evaluation, files, ProcessMemory.residentBytes()));
  }

  private StepCounts exchangeCounts(int step, List<TokenRow> rows) {
    long[] targets = assembler.countTargets(rows);
    long[] mtpTargets = Arrays.copyOfRange(targets, 1, targets.length);
    clock.enter(Phase.CONTROL);
    tell(Message.COUNTS, step, new StepCounts(targets[0], mtpTargets, rows.size()));
    return Protocol.receive(
        communicator, Communicator.DRIVER, Message.COUNTS, step, StepCounts.class);
  }

  private Losses forwardBackward(
      int step, List<TokenRow> rows, StepCounts counts, RankState state, Arena arena) {
    LossScales scales =
        LossScales.ofMeans(
            counts.mainTargets(),
            counts.mtpTargets(),
            counts.sequences(),
            config.train().mtpLossWeight(),
            config.train().balanceLossAlpha());
    Losses sum = Losses.none(config.model().numMtpModules());
    int pass = 0;
    for (List<TokenRow> group : MicroBatches.split(rows, passes, config.train().seqLen())) {
      clock.enter(Phase.DATA);
      // Of one pass at a time: what a teacher says about a whole step may outgrow the activations.
      try (Scope scope = arena.scope()) {
        TokenBatch batch = assembler.assemble(group, scope);
        clock.enter(Phase.TRUNK);
        sum = sum.plus(state.model().train(step, pass++, batch, scales, arena));
      }
    }
    return sum;
  }

  /** Reduces the replicated gradients and sums up what the coordinator needs. */
  private StepReport reduce(int step, Losses losses, RankState state) {
    clock.enter(Phase.OPTIMIZER);
    // Before the reduction, so that the rank where a number went wrong is the one that is named.
    double ownSquares = state.sumOfSquares(Part.REPLICATED);
    double expertSquares = state.sumOfSquares(Part.EXPERT);
    String nonFinite = nonFinite(losses, ownSquares + expertSquares, state);
    clock.enter(Phase.REDUCE);
    WireQuality quality = state.reduceGradients(step);
    clock.enter(Phase.OPTIMIZER);
    double replicatedSquares =
        communicator.size() == 1 ? ownSquares : state.sumOfSquares(Part.REPLICATED);
    return new StepReport(
        losses.mainSum(),
        losses.mtpSum(),
        losses.balanceSum(),
        losses.droppedTokens(),
        expertSquares,
        replicatedSquares,
        quality,
        state.roundingOf(step),
        nonFinite);
  }

  private static String nonFinite(Losses losses, double squares, RankState state) {
    double lossSum = losses.mainSum() + losses.balanceSum();
    for (double mtpSum : losses.mtpSum()) {
      lossSum += mtpSum;
    }
    if (Double.isFinite(squares) && Double.isFinite(lossSum)) {
      return null;
    }
    String tensor = state.firstNonFinite();
    return tensor == null ? "the loss" : "the gradient of " + tensor;
  }

  private Evaluation evaluate(int step, boolean last, RankState state, Arena arena) {
    int wanted = config.train().evalRows();
    List<TokenRow> all = settings.validation();
    if (!last && wanted > 0 && wanted < all.size()) {
      all = RowOrder.evenlySpaced(all, wanted);
    }
    int rank = communicator.rank();
    List<TokenRow> own =
        all.subList(
            RowOrder.sliceStart(all.size(), rank, communicator.size()),
            RowOrder.sliceStart(all.size(), rank + 1, communicator.size()));
    int evalPasses = MicroBatches.passes(largestSlice(all.size()), evaluationRows());
    // All validation rows may take many deadlines: each pass shows that this rank is at work.
    Evaluator evaluator =
        new Evaluator(
            state.model(), config.model(), config.train().seqLen(), arena, communicator::keepAlive);
    clock.pin(Phase.EVALUATE);
    try {
      return evaluator.run(step, passes, own, evalPasses);
    } finally {
      clock.unpin();
    }
  }

  /** Rows of a forward pass in evaluation: as many as in training. */
  private int evaluationRows() {
    int perPass = (largestSlice(config.train().batchSequences()) + passes - 1) / passes;
    return Math.max(1, perPass);
  }

  private int largestSlice(int rows) {
    return MicroBatches.largestSlice(rows, communicator.size());
  }

  private long[] sentSinceLast() {
    long[] now = communicator.sentBytes();
    long[] since = now.clone();
    for (int i = 0; i < since.length; i++) {
      since[i] -= sentBefore[i];
    }
    sentBefore = now;
    return since;
  }

  private KeepAlive keepAlive() {
    return new KeepAlive(
        communicator, config.cluster().deadline(), config.cluster().checkpointDeadline());
  }

  private void tell(Message message, int step, Object body) {
    Protocol.send(communicator, Communicator.DRIVER, message, step, body);
  }
}
