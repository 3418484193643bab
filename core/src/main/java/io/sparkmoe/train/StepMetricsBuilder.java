package io.sparkmoe.train;

import io.sparkmoe.moe.LoadBalancer;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.train.protocol.StepCounts;
import io.sparkmoe.train.protocol.StepEnd;
import io.sparkmoe.train.protocol.StepReport;
import java.util.ArrayDeque;
import java.util.LinkedHashMap;
import java.util.Map;

/** Turns what the ranks said in a step into its line of metrics. */
final class StepMetricsBuilder {

  private final RunConfig config;
  private final Communicator driver;
  private long[] driverSentBefore;

  /**
   * Steps whose tokens are counted together in {@link StepMetrics#recentLoadMaxOverMeanByLayer}.
   */
  static final int RECENT_STEPS = 20;

  private final ArrayDeque<long[][]> recent = new ArrayDeque<>();

  StepMetricsBuilder(RunConfig config, Communicator driver) {
    this.config = config;
    this.driver = driver;
    this.driverSentBefore = driver.sentBytes();
  }

  /**
   * @param tokens trained on by the end of the step
   */
  StepMetrics build(int step, long tokens, StepResult result) {
    TrainConfig train = config.train();
    double main = 0;
    double balance = 0;
    long dropped = 0;
    for (StepReport report : result.reports()) {
      main += report.mainLossSum();
      balance += report.balanceLossSum();
      dropped += report.droppedTokens();
    }
    StepCounts counts = result.counts();
    main = mean(main, counts.mainTargets());
    balance = mean(balance, counts.sequences());
    double mtp = mtpLoss(result);

    double[] loadByLayer = new double[result.loads().length];
    double worstLoad = 0;
    int dead = 0;
    for (int i = 0; i < loadByLayer.length; i++) {
      loadByLayer[i] = LoadBalancer.maxOverMean(result.loads()[i]);
      worstLoad = Math.max(worstLoad, loadByLayer[i]);
      dead += LoadBalancer.deadExperts(result.loads()[i]);
    }

    Map<String, Double> phases = phaseSeconds(result);
    double stepSeconds = phases.values().stream().mapToDouble(Double::doubleValue).sum();
    double trainSeconds = StepMetrics.trainSeconds(stepSeconds, phases);
    return new StepMetrics(
        step,
        tokens,
        main + train.mtpLossWeight() * mtp + train.balanceLossAlpha() * balance,
        main,
        mtp,
        balance,
        result.gradNorm(),
        result.order().learningRate(),
        train.tokensPerStep() / trainSeconds,
        stepSeconds,
        worstLoad,
        loadByLayer,
        recentLoads(result.loads()),
        dead,
        dropped,
        wireBytes(result),
        phases,
        phases.getOrDefault(Phase.GATE_WAIT.label(), 0.0) / trainSeconds,
        result.reports().get(0).wireQuality(),
        result.reports().get(0).fp8Rounding(),
        result.ends().stream().mapToLong(StepEnd::residentBytes).max().orElse(-1),
        result.evaluation() == null ? null : result.evaluation().meanLoss());
  }

  /** Largest load over the mean, by MoE layer, of the last steps together. */
  private double[] recentLoads(long[][] loads) {
    recent.addLast(loads);
    if (recent.size() > RECENT_STEPS) {
      recent.removeFirst();
    }
    double[] byLayer = new double[loads.length];
    for (int layer = 0; layer < loads.length; layer++) {
      long[] sum = new long[loads[layer].length];
      for (long[][] ofStep : recent) {
        for (int expert = 0; expert < sum.length; expert++) {
          sum[expert] += ofStep[layer][expert];
        }
      }
      byLayer[layer] = LoadBalancer.maxOverMean(sum);
    }
    return byLayer;
  }

  private double mtpLoss(StepResult result) {
    int modules = config.model().numMtpModules();
    double sum = 0;
    for (int k = 0; k < modules; k++) {
      double lossSum = 0;
      for (StepReport report : result.reports()) {
        lossSum += report.mtpLossSums()[k];
      }
      sum += mean(lossSum, result.counts().mtpTargets()[k]);
    }
    return modules == 0 ? 0 : sum / modules;
  }

  private Map<String, Double> phaseSeconds(StepResult result) {
    Map<String, Double> phases = new LinkedHashMap<>();
    for (Phase phase : Phase.values()) {
      double sum = 0;
      for (StepEnd end : result.ends()) {
        sum += end.phaseSeconds()[phase.ordinal()];
      }
      if (sum > 0) {
        phases.put(phase.label(), sum / result.ends().size());
      }
    }
    return phases;
  }

  private Map<String, Long> wireBytes(StepResult result) {
    long[] driverSent = driver.sentBytes();
    Map<String, Long> bytes = new LinkedHashMap<>();
    for (FrameKind kind : FrameKind.values()) {
      long sum = driverSent[kind.ordinal()] - driverSentBefore[kind.ordinal()];
      for (StepEnd end : result.ends()) {
        sum += end.sentBytes()[kind.ordinal()];
      }
      bytes.put(kind.label(), sum);
    }
    driverSentBefore = driverSent;
    return bytes;
  }

  private static double mean(double sum, long count) {
    return count == 0 ? 0 : sum / count;
  }
}
