package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.spark.cluster.LocalClusterSession;
import io.sparkmoe.spark.data.BadInputException;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.EuroparlCorpus;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunFolder;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.RunResult;
import io.sparkmoe.train.StepMetrics;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The preset {@code tiny} on real text and real executor processes, against one process. */
class SparkTrainingTest {

  private static final int STEPS = 20;

  @TempDir static Path shared;
  private static LocalClusterSession cluster;
  private static String data;
  private static RunResult local;

  @TempDir Path folder;

  @BeforeAll
  static void prepareAndTrainLocally() throws Exception {
    cluster = new LocalClusterSession(3, 900, Map.of());
    Path all = shared.resolve("all.txt");
    EuroparlCorpus.writeTexts(all);
    Path texts = shared.resolve("texts.txt");
    try (Stream<String> lines = Files.lines(all)) {
      Files.write(texts, lines.limit(60).toList());
    }
    data = shared.resolve("data").toString();
    PrepareOptions options =
        new PrepareOptions(
            List.of(texts.toString()),
            DocumentFormat.TEXT,
            PrepareOptions.DEFAULT_TEXT_COLUMN,
            SourceRule.single(),
            "byte",
            32,
            0.1,
            data);
    new PrepareJob(SparkSession.builder().getOrCreate(), options).run();
    local = train(shared.resolve("local"), 0);
  }

  @AfterAll
  static void stop() throws Exception {
    cluster.close();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  @DisplayName("executors agree with one process, step by step")
  void executorsAgreeWithOneProcess(int executors) throws Exception {
    RunResult onSpark = train(folder.resolve("run"), executors);
    assertThat(onSpark.metrics()).hasSize(STEPS);
    for (int i = 0; i < STEPS; i++) {
      StepMetrics expected = local.metrics().get(i);
      StepMetrics actual = onSpark.metrics().get(i);
      assertThat(actual.loss())
          .as("loss of step %d", i + 1)
          .isCloseTo(expected.loss(), within(1e-5 * expected.loss()));
      assertThat(actual.droppedTokens()).isZero();
    }
    assertThat(local.metrics().get(STEPS - 1).loss()).isLessThan(local.metrics().get(0).loss());
  }

  @Test
  @DisplayName(
      "gates on the driver and on the executors, and the same run again, end with the same weights")
  void gatePlacementsAndRepeatsAgree() throws Exception {
    String driver = train(folder.resolve("driver"), 2).weightsSha256();
    String again = train(folder.resolve("again"), 2).weightsSha256();
    String executor =
        train(folder.resolve("executor"), 2, "cluster.gate_placement=executor").weightsSha256();
    assertThat(again).isEqualTo(driver);
    assertThat(executor).isEqualTo(driver);
  }

  @Test
  @DisplayName("10 + 10 resumed steps end with the weights of 20 unbroken ones")
  void resumesWithTheSameBits() throws Exception {
    String unbroken = train(folder.resolve("unbroken"), 2).weightsSha256();
    Path broken = folder.resolve("broken");
    assertThatThrownBy(() -> train(broken, 2, killer(11), "train.checkpoint_every=10"))
        .hasMessageContaining("killed in step 11");
    RunResult resumed = train(broken, 2);
    assertThat(resumed.resumedFromStep()).isEqualTo(10);
    assertThat(resumed.weightsSha256()).isEqualTo(unbroken);
  }

  @Test
  @DisplayName("a run killed after its last commit only evaluates, on its executors too")
  void endsARunThatHasNoStepLeft() throws Exception {
    RunResult unbroken = train(folder.resolve("unbroken"), 2, "train.steps=2");
    Path broken = folder.resolve("broken");
    assertThatThrownBy(() -> train(broken, 2, killer(2), "train.steps=2"))
        .hasMessageContaining("killed in step 2");
    RunResult ended = train(broken, 2, "train.steps=2");
    assertThat(ended.metrics()).isEmpty();
    assertThat(ended.weightsSha256()).isEqualTo(unbroken.weightsSha256());
    assertThat(ended.evaluation()).usingRecursiveComparison().isEqualTo(unbroken.evaluation());
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  @DisplayName("a run whose folder another one takes stops at its next checkpoint, for good")
  void stopsInAFolderThatIsTaken(int executors) throws Exception {
    Path out = folder.resolve("run");
    assertThatThrownBy(() -> train(out, executors, taker(out, 3), "train.checkpoint_every=2"))
        .hasMessageContaining("another run took this one's folder: " + out + " was taken by ");
    assertThat(out.resolve("checkpoints/step-00000002/manifest.json")).exists();
    assertThat(out.resolve("checkpoints/step-00000004")).doesNotExist();
  }

  private static RunListener taker(Path out, int step) {
    return new RunListener() {
      @Override
      public void onStep(StepMetrics metrics) {
        if (metrics.step() == step) {
          take(out);
        }
      }
    };
  }

  private static void take(Path out) {
    try {
      new RunFolder(new LocalStore(out)).begin();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  @DisplayName("a damaged file of rows is bad input, whichever engine reads it")
  void aDamagedFileOfRowsIsBadInput() throws Exception {
    Path part;
    try (Stream<Path> files = Files.list(Path.of(data, TokenDataset.TRAIN))) {
      part = files.filter(file -> file.toString().endsWith(".parquet")).findFirst().orElseThrow();
    }
    byte[] whole = Files.readAllBytes(part);
    Path checksum = part.resolveSibling("." + part.getFileName() + ".crc");
    byte[] wholeChecksum = Files.readAllBytes(checksum);
    try {
      Files.delete(checksum);
      Files.write(part, Arrays.copyOf(whole, whole.length / 2));
      for (int executors : new int[] {0, 2}) {
        assertThatThrownBy(() -> train(folder.resolve("damaged" + executors), executors))
            .isInstanceOf(BadInputException.class)
            .hasMessageContaining(part.getFileName() + " cannot be read as token rows")
            .hasMessageEndingWith("run moe prepare again");
      }
    } finally {
      Files.write(part, whole);
      Files.write(checksum, wholeChecksum);
    }
  }

  private static RunListener killer(int step) {
    return new RunListener() {
      @Override
      public void onStep(StepMetrics metrics) {
        if (metrics.step() == step) {
          throw new IllegalStateException("killed in step " + step);
        }
      }
    };
  }

  private static RunResult train(Path out, int executors, String... settings) throws Exception {
    return train(out, executors, new RunListener() {}, settings);
  }

  /** Trains {@code tiny} on FP32 wires; 0 executors = in this process. */
  private static RunResult train(Path out, int executors, RunListener listener, String... settings)
      throws Exception {
    Configuration hadoop = new Configuration();
    TokenDataset dataset = TokenDataset.open(data, hadoop);
    List<String> all =
        new ArrayList<>(
            List.of(
                "train.steps=" + STEPS,
                "cluster.gradient_wire=fp32",
                "cluster.dispatch_wire=fp32",
                "cluster.combine_wire=fp32",
                "cluster.gemm_backend=openblas"));
    all.addAll(List.of(settings));
    ResolvedConfig resolved =
        new ConfigResolver()
            .preset("tiny")
            .set(all)
            .resolve()
            .withTokenizer(dataset.info().vocabSize(), data);
    RunConfig config = resolved.toRunConfig();
    RunPlan plan =
        new RunPlan(
            executors == 0 ? config.forLocalEngine() : config,
            resolved.toYaml(),
            dataset,
            new RunFolder(new LocalStore(out)),
            Resume.auto());
    FinishedRun finished =
        executors == 0
            ? LocalRun.run(plan, 1, listener)
            : SparkTraining.run(cluster.sc(), executors, plan, hadoop, listener);
    return finished.result();
  }
}
