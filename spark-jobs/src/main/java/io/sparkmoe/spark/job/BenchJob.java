package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.RowSource;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelFlops;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.CoordinatorSettings;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.DataIdentity;
import io.sparkmoe.train.LocalTraining;
import io.sparkmoe.train.ProcessMemory;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.StepMetrics;
import io.sparkmoe.train.SyntheticRows;
import io.sparkmoe.train.WorkerSettings;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaRDD;

/**
 * {@code moe bench train}: training speed on random tokens; forward, backward, clipping and AdamW,
 * MTP only when the config has modules and a weight for them.
 */
public final class BenchJob {

  private static final ObjectMapper JSON = new ObjectMapper();

  private final BenchOptions options;
  private final PrintStream out;
  private final PrintStream err;

  public BenchJob(BenchOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /** Collects what the ranks tell of every step. */
  private final class Steps implements RunListener {
    private final List<StepMetrics> all = new ArrayList<>();

    @Override
    public void onStart(int resumedFromStep, List<String> notes) {
      notes.forEach(err::println);
    }

    @Override
    public void onStep(StepMetrics metrics) {
      all.add(metrics);
      err.printf(
          Locale.ROOT,
          "step %d: %.3f s, %.0f tokens/s%n",
          metrics.step(),
          metrics.stepSeconds(),
          metrics.tokensPerSecond());
    }
  }

  /** The matrix library that the run takes, and its speed at 1024^3 on all threads. */
  private record Peak(String gemmBackend, double gflops) {}

  /** Prints one JSON object on its last line. */
  public void run() throws IOException, InterruptedException {
    RunConfig asked = options.config().toRunConfig();
    int threads = options.threads() > 0 ? options.threads() : defaultThreads();
    Peak peak = measurePeak(asked, threads * Math.max(1, options.executors()));
    RunConfig config =
        asked
            .withTrain(asked.train().withSteps(options.warmup() + asked.train().steps()))
            .withCluster(asked.cluster().withGemmBackend(peak.gemmBackend()));
    Steps steps = new Steps();
    if (options.executors() == 0) {
      local(config, threads, steps);
    } else {
      onSpark(config, threads, steps);
    }
    out.println(JSON.writeValueAsString(report(config, threads, peak, steps.all)));
  }

  /** All cores here; on Spark what a task is given. */
  private int defaultThreads() {
    return options.executors() == 0
        ? Runtime.getRuntime().availableProcessors()
        : new SparkConf().getInt("spark.task.cpus", 1);
  }

  private static Peak measurePeak(RunConfig config, int threads) {
    String backend = config.cluster().gemmBackend();
    DType inputs = config.train().precision().productInputs(backend);
    try (ComputeEngine engine = ComputeEngine.open("peak", backend, inputs, threads)) {
      return new Peak(engine.gemmName(), engine.measurePeakGflops());
    }
  }

  private void local(RunConfig config, int threads, Steps steps) throws IOException {
    RunConfig local = config.forLocalEngine();
    LocalRun.requireMemory(local, 0);
    LocalTraining.run(
        local,
        1,
        rank ->
            new WorkerSettings(
                new SyntheticRows(local.train(), local.model().vocabSize(), rank, 1),
                List.of(),
                null,
                threads,
                RankMemory.ofRank(local, 1).limitBytes()),
        settings(local, 1),
        steps);
  }

  private void onSpark(RunConfig config, int threads, Steps steps) throws InterruptedException {
    try (SparkSetup spark = SparkSetup.start(config, 0, options.executors(), "moe bench train")) {
      spark.remarks().forEach(err::println);
      int numRanks = spark.numRanks();
      JavaRDD<Integer> ranks =
          spark.context().parallelize(Collections.nCopies(numRanks, 0), numRanks);
      new SparkRun<>(config, ranks, new RandomRows(), null, "moe bench train")
          .run(spark.context(), settings(config, numRanks), threads, steps);
    }
  }

  private static CoordinatorSettings settings(RunConfig config, int numRanks) {
    return new CoordinatorSettings(
        null,
        Resume.never(),
        DataIdentity.UNKNOWN,
        0,
        1,
        RankMemory.ofDriver(config, numRanks).limitBytes());
  }

  /** Random tokens, made on the rank. */
  private static final class RandomRows implements SparkRun.Rows<Integer> {

    private static final long serialVersionUID = 1;

    @Override
    public RowSource source(Iterator<Integer> partition, RunConfig config, int rank, int numRanks) {
      return new SyntheticRows(config.train(), config.model().vocabSize(), rank, numRanks);
    }

    @Override
    public int teacherTopK() {
      return 0;
    }

    @Override
    public List<TokenRow> validation() {
      return List.of();
    }
  }

  private ObjectNode report(RunConfig config, int threads, Peak peak, List<StepMetrics> all) {
    List<StepMetrics> timed = all.subList(options.warmup(), all.size());
    double stepSeconds = median(timed.stream().mapToDouble(StepMetrics::stepSeconds).toArray());
    int batch = config.train().batchSequences();
    int seqLen = config.train().seqLen();
    boolean withMtp = config.model().numMtpModules() > 0;
    double gflops = ModelFlops.ofStep(config.model(), batch, seqLen, withMtp) * 1e-9;
    ObjectNode report = JSON.createObjectNode();
    report.put("tokensPerSecond", batch * seqLen / stepSeconds);
    report.put("stepSeconds", stepSeconds);
    report.put("parameters", Parameters.numElements(config.model(), EnumSet.allOf(Part.class)));
    report.put("threads", threads);
    report.put("executors", options.executors());
    report.put("precision", config.train().precision().name().toLowerCase(Locale.ROOT));
    report.put("gemmBackend", peak.gemmBackend());
    report.put("gemmPeakGflops", peak.gflops());
    report.put("modelGflopsPerStep", gflops);
    report.put("gemmEfficiency", gflops / stepSeconds / peak.gflops());
    report.put("peakResidentBytes", peakResidentBytes(all));
    report.put("residentBytesPerStep", residentSlope(timed));
    report.put(
        "wireBytesPerStep",
        median(
            timed.stream()
                .mapToDouble(
                    step -> step.wireBytes().values().stream().mapToLong(Long::longValue).sum())
                .toArray()));
    report.set("phaseSeconds", JSON.valueToTree(medianPhases(timed)));
    return report;
  }

  private long peakResidentBytes(List<StepMetrics> all) {
    return options.executors() == 0
        ? ProcessMemory.peakResidentBytes()
        : all.stream().mapToLong(StepMetrics::residentBytes).max().orElse(-1);
  }

  /** Growth of the largest process, by least squares over the timed steps. */
  private static double residentSlope(List<StepMetrics> timed) {
    double meanStep = timed.stream().mapToInt(StepMetrics::step).average().orElse(0);
    double meanBytes = timed.stream().mapToLong(StepMetrics::residentBytes).average().orElse(0);
    double covariance = 0;
    double variance = 0;
    for (StepMetrics step : timed) {
      double distance = step.step() - meanStep;
      covariance += distance * (step.residentBytes() - meanBytes);
      variance += distance * distance;
    }
    return variance == 0 ? 0 : covariance / variance;
  }

  private static Map<String, Double> medianPhases(List<StepMetrics> timed) {
    Map<String, Double> phases = new LinkedHashMap<>();
    for (String phase : timed.get(0).phaseSeconds().keySet()) {
      phases.put(
          phase,
          median(
              timed.stream()
                  .mapToDouble(step -> step.phaseSeconds().getOrDefault(phase, 0.0))
                  .toArray()));
    }
    return phases;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
}
