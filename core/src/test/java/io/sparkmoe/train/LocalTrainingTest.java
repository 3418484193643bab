package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.config.WireVolume;
import io.sparkmoe.io.FaultyStore;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.protocol.WireQuality;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class LocalTrainingTest {

  @TempDir Path folder;

  @Test
  @DisplayName("training lowers the loss, drops nothing, and its phases add up to the step")
  void trains() throws Exception {
    RunResult result = new TinyRun().with("steps", 80).with("lr", 2e-2).run();
    List<StepMetrics> steps = result.metrics();
    assertThat(steps).hasSize(80);
    assertThat(steps.get(79).mainLoss()).isLessThan(0.5 * steps.get(0).mainLoss());
    assertThat(steps.get(0).mainLoss()).isCloseTo(Math.log(TinyRun.VOCAB), within(0.2));
    for (StepMetrics step : steps) {
      assertThat(step.droppedTokens()).isZero();
      double sum = step.phaseSeconds().values().stream().mapToDouble(Double::doubleValue).sum();
      assertThat(sum).isCloseTo(step.stepSeconds(), within(1e-9));
    }
    assertThat(result.evaluation().targets())
        .isEqualTo(4 * TinyRun.SEQ_LEN + TinyRun.SEQ_LEN / 2 - 1);
  }

  @Test
  @DisplayName("the same run twice, on one thread and on two, ends with the same weights")
  void isDeterministic() throws Exception {
    String once = new TinyRun().in(folder.resolve("a")).run().weightsSha256();
    String twice = new TinyRun().in(folder.resolve("b")).run().weightsSha256();
    String threads = new TinyRun().threads(2).in(folder.resolve("c")).run().weightsSha256();
    assertThat(once).matches("[0-9a-f]{64}").isEqualTo(twice).isEqualTo(threads);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 8, 12})
  @DisplayName("several ranks agree with one, step by step")
  void ranksAgree(int ranks) throws Exception {
    List<StepMetrics> one = new TinyRun().run().metrics();
    List<StepMetrics> many = new TinyRun().ranks(ranks).run().metrics();
    for (int i = 0; i < one.size(); i++) {
      double expected = one.get(i).loss();
      assertThat(many.get(i).loss())
          .as("loss of step %d", i + 1)
          .isCloseTo(expected, within(1e-5 * expected));
      assertThat(many.get(i).droppedTokens()).isZero();
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {1e-3, 0})
  @DisplayName("a gate on the driver and one on the executors end with the same weights")
  void gatePlacementsAgree(double balanceLossAlpha) throws Exception {
    TinyRun run = new TinyRun().ranks(2).with("balance_loss_alpha", balanceLossAlpha);
    String executor =
        run.gate(GatePlacement.EXECUTOR).in(folder.resolve("e")).run().weightsSha256();
    RunResult driver = run.gate(GatePlacement.DRIVER).in(folder.resolve("d")).run();
    assertThat(driver.weightsSha256()).isEqualTo(executor);
    assertThat(driver.metrics()).allSatisfy(step -> assertThat(step.gateWaitShare()).isPositive());
    assertThat(driver.metrics())
        .allSatisfy(step -> assertThat(step.balanceLoss() > 0).isEqualTo(balanceLossAlpha > 0));
  }

  @Test
  @DisplayName("10 + 10 resumed steps end with the weights of 20 unbroken ones")
  void resumesWithTheSameBits() throws Exception {
    String unbroken = new TinyRun().ranks(2).in(folder.resolve("unbroken")).run().weightsSha256();
    Path broken = folder.resolve("broken");
    stopAfter(10, broken);
    RunResult resumed = new TinyRun().ranks(2).with("checkpoint_every", 10).in(broken).run();
    assertThat(resumed.resumedFromStep()).isEqualTo(10);
    assertThat(resumed.weightsSha256()).isEqualTo(unbroken);
  }

  @Test
  @DisplayName(
      "10 + 10 resumed steps on lossy wires end with the same bits too: residuals are kept")
  void resumesWithTheSameBitsOnLossyWires() throws Exception {
    String unbroken = lossy().in(folder.resolve("unbroken")).run().weightsSha256();
    Path broken = folder.resolve("broken");
    assertThatThrownBy(lossy().with("checkpoint_every", 5).in(broken).listener(killer(10))::run)
        .hasMessageContaining("killed");
    assertThat(lossy().in(broken).run().weightsSha256()).isEqualTo(unbroken);
  }

  @Test
  @DisplayName("a checked FP8 gradient wire keeps the direction, and its errors do not add up")
  void checksTheGradientWire() throws Exception {
    List<StepMetrics> steps = lossy().with("steps", 30).checkGradientsEvery(1).run().metrics();
    assertThat(steps)
        .allSatisfy(step -> assertThat(step.gradientWire().cosine()).isGreaterThan(0.999));
    WireQuality last = steps.get(29).gradientWire();
    assertThat(last.relativeError()).isPositive();
    assertThat(last.errorOfSum()).isLessThan(0.2);
    assertThat(new TinyRun().run().metrics())
        .allSatisfy(step -> assertThat(step.gradientWire()).isNull());
  }

  @ParameterizedTest
  @EnumSource(GatePlacement.class)
  @DisplayName("a run killed after its last commit ends with the same weights and evaluation")
  void endsARunThatHasNoStepLeft(GatePlacement gate) throws Exception {
    RunResult unbroken = lossy().gate(gate).in(folder.resolve("unbroken")).run();
    Path broken = folder.resolve("broken");
    assertThatThrownBy(lossy().gate(gate).in(broken).listener(killer(20))::run)
        .hasMessageContaining("killed after step 20");
    RunResult ended = lossy().gate(gate).in(broken).run();
    assertThat(ended.resumedFromStep()).isEqualTo(20);
    assertThat(ended.metrics()).isEmpty();
    assertThat(ended.tokens()).isEqualTo(unbroken.tokens());
    assertThat(ended.weightsSha256()).isEqualTo(unbroken.weightsSha256());
    assertThat(ended.evaluation()).usingRecursiveComparison().isEqualTo(unbroken.evaluation());
  }

  @Test
  @DisplayName("a checkpoint in the middle of a run can be the end of a shorter one")
  void endsAtAnEarlierCheckpoint() throws Exception {
    TinyRun shorter = new TinyRun().ranks(2).with("schedule", "CONSTANT").with("steps", 10);
    String unbroken = shorter.in(folder.resolve("unbroken")).run().weightsSha256();
    Path broken = folder.resolve("broken");
    assertThatThrownBy(
            new TinyRun()
                    .ranks(2)
                    .with("schedule", "CONSTANT")
                    .with("checkpoint_every", 10)
                    .in(broken)
                    .listener(killer(11))
                ::run)
        .hasMessageContaining("killed");
    assertThat(shorter.in(broken).run().weightsSha256()).isEqualTo(unbroken);
  }

  @Test
  @DisplayName("a step's metrics are told before its checkpoint is one")
  void tellsMetricsBeforeTheCommit() throws Exception {
    List<String> told = new ArrayList<>();
    RunListener listener =
        new RunListener() {
          @Override
          public void onMetrics(StepMetrics metrics, boolean checkpoint) {
            tell("metrics", metrics, checkpoint);
          }

          @Override
          public void onStep(StepMetrics metrics) {
            tell("step", metrics, metrics.step() == 2);
          }

          private void tell(String what, StepMetrics metrics, boolean checkpoint) {
            boolean committed =
                Files.exists(folder.resolve("checkpoints/step-00000002/manifest.json"));
            told.add(what + " " + metrics.step() + " " + checkpoint + " " + committed);
          }
        };
    new TinyRun().with("steps", 2).in(folder).listener(listener).run();
    assertThat(told)
        .containsExactly(
            "metrics 1 false false",
            "step 1 false false",
            "metrics 2 true false",
            "step 2 true true");
  }

  private static TinyRun lossy() {
    return new TinyRun().ranks(2).gate(GatePlacement.DRIVER).wires(Wire.FP8, Wire.FP8, Wire.BF16);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  @DisplayName("a run resumes on another number of ranks where it was")
  void resumesOnOtherRanks(int ranks) throws Exception {
    List<StepMetrics> unbroken = new TinyRun().ranks(2).run().metrics();
    stopAfter(10, folder);
    List<StepMetrics> resumed = new TinyRun().ranks(ranks).in(folder).run().metrics();
    assertThat(resumed).hasSize(10);
    for (int i = 0; i < 10; i++) {
      assertThat(resumed.get(i).loss()).isCloseTo(unbroken.get(10 + i).loss(), within(1e-4));
    }
  }

  @Test
  @DisplayName("of two runs in one folder the later one ends as if alone, the other says why not")
  void theLaterRunOwnsTheFolder() throws Exception {
    String alone = checkpointing(folder.resolve("alone")).run().weightsSha256();
    Path both = folder.resolve("both");
    List<String> ended = new ArrayList<>();
    RunListener beginsAnother =
        new RunListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            if (metrics.step() == 7) {
              ended.add(runAnother(both));
            }
          }
        };
    assertThatThrownBy(checkpointing(both).listener(beginsAnother)::run)
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith("another run took this one's folder: " + both + " was taken by ");
    assertThat(ended).containsExactly(alone);
    assertThat(both.resolve("checkpoints/step-00000010/manifest.json")).exists();
    assertThat(both.resolve("checkpoints/step-00000012/manifest.json")).exists();
  }

  /** Steps 5, 10 and 12 are checkpoints. */
  private static TinyRun checkpointing(Path folder) throws IOException {
    return new TinyRun()
        .with("steps", 12)
        .with("checkpoint_every", 5)
        .in(new RunFolder(new LocalStore(folder)).store());
  }

  private static String runAnother(Path folder) {
    try {
      return checkpointing(folder).run().weightsSha256();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  @DisplayName("tokens are counted on from the checkpoint, whatever length the rows have now")
  void countsTokensOn() throws Exception {
    new TinyRun().with("steps", 10).in(folder).run();
    RunResult shorter = new TinyRun().seqLen(8).with("steps", 12).in(folder).run();
    long tokens = 10 * 7 * 12 + 2 * 7 * 8;
    assertThat(shorter.metrics())
        .extracting(StepMetrics::tokens)
        .containsExactly(tokens - 7 * 8, tokens);
    assertThat(shorter.tokens()).isEqualTo(tokens);
    RunResult again = new TinyRun().with("steps", 13).in(folder).run();
    assertThat(again.tokens()).isEqualTo(tokens + 7 * 12);
  }

  @Test
  @DisplayName("a damaged newest checkpoint is named and the older one used")
  void fallsBackToTheOlderCheckpoint() throws Exception {
    stopAfter(10, folder);
    Path newest = folder.resolve("checkpoints/step-00000010/model/replicated.safetensors");
    byte[] bytes = Files.readAllBytes(newest);
    bytes[bytes.length / 2] ^= 1;
    Files.write(newest, bytes);
    List<String> notes = new ArrayList<>();
    RunResult resumed =
        new TinyRun().ranks(2).with("checkpoint_every", 5).in(folder).listener(said(notes)).run();
    assertThat(resumed.resumedFromStep()).isEqualTo(5);
    assertThat(notes).anyMatch(note -> note.contains("step-00000010/model/replicated.safetensors"));
  }

  @Test
  @DisplayName("what a resumed run has otherwise than its checkpoint is named, in one sentence")
  void namesChangedSettings() throws Exception {
    new TinyRun().with("steps", 10).in(folder).run();
    List<String> notes = new ArrayList<>();
    new TinyRun().with("seed", 12).with("lr", 1e-3).in(folder).listener(said(notes)).run();
    assertThat(notes)
        .filteredOn(note -> note.startsWith("settings changed"))
        .singleElement()
        .asString()
        .startsWith("settings changed since the checkpoint: train.")
        .contains("train.steps was 10, is 20", "train.seed was 11, is 12")
        .contains("train.lr was 0.003, is 0.001")
        .doesNotContain("cluster.");
    notes.clear();
    new TinyRun()
        .with("seed", 12)
        .with("lr", 1e-3)
        .with("steps", 21)
        .in(folder)
        .listener(said(notes))
        .run();
    assertThat(notes).contains("settings changed since the checkpoint: train.steps was 20, is 21");
  }

  @Test
  @DisplayName("a resumed run on other data says so, unless one of the two is not known")
  void namesChangedData() throws Exception {
    new TinyRun().data(new DataIdentity(null, "monday")).with("steps", 10).in(folder).run();
    assertThat(dataNotes("monday", 11)).isEmpty();
    assertThat(dataNotes("tuesday", 12))
        .singleElement()
        .asString()
        .contains("had SHA-256 monday, has tuesday; ");
    assertThat(dataNotes(null, 13)).isEmpty();
    assertThat(dataNotes("tuesday", 14)).isEmpty();
  }

  /** What a run that goes on to some step with that data says about the data. */
  private List<String> dataNotes(String description, int steps) throws IOException {
    List<String> notes = new ArrayList<>();
    new TinyRun()
        .data(new DataIdentity(null, description))
        .with("steps", steps)
        .in(folder)
        .listener(said(notes))
        .run();
    notes.removeIf(note -> !note.startsWith("data changed"));
    return notes;
  }

  /** Keeps what a run says when it starts. */
  private static RunListener said(List<String> notes) {
    return new RunListener() {
      @Override
      public void onStart(int resumedFromStep, List<String> said) {
        notes.addAll(said);
      }
    };
  }

  @Test
  @DisplayName("a diverging run stops with step, rank and tensor, and keeps its last checkpoint")
  void stopsWhenNotFinite() throws Exception {
    TinyRun run =
        new TinyRun()
            .ranks(2)
            .with("lr", 1e30)
            .with("warmup_steps", 0)
            .with("clip_norm", 0.0)
            .with("schedule", "CONSTANT")
            .with("checkpoint_every", 1)
            .in(folder);
    assertThatThrownBy(run::run)
        .isInstanceOf(FatalRunException.class)
        .hasMessageMatching(
            "training diverged: .* is not finite at step \\d+ on rank \\d.*lower train.lr");
    assertThat(folder.resolve("checkpoints/step-00000001/manifest.json")).exists();
  }

  @ParameterizedTest
  @EnumSource(GatePlacement.class)
  @DisplayName("computing layers again changes no bit, wherever the gate is")
  void recomputesTheSameBits(GatePlacement gate) throws Exception {
    TinyRun keeping = lossy().gate(gate).with("steps", 6).in(folder.resolve("keeping"));
    TinyRun again =
        lossy().gate(gate).with("steps", 6).with("recompute", "LAYER").in(folder.resolve("again"));
    RunResult expected = keeping.run();
    RunResult actual = again.run();
    assertThat(actual.weightsSha256()).isEqualTo(expected.weightsSha256());
    for (int i = 0; i < 6; i++) {
      StepMetrics step = actual.metrics().get(i);
      assertThat(step.loss()).isEqualTo(expected.metrics().get(i).loss());
      assertThat(step.balanceLoss()).isEqualTo(expected.metrics().get(i).balanceLoss());
      assertThat(step.expertLoadMaxOverMean())
          .isEqualTo(expected.metrics().get(i).expertLoadMaxOverMean());
    }
  }

  @Test
  @DisplayName(
      "computing layers again sends the main model's tokens once more, as the estimate says")
  void recomputeSendsOnceMore() throws Exception {
    TinyRun kept = new TinyRun().with("steps", 2).ranks(2);
    TinyRun again = new TinyRun().with("steps", 2).with("recompute", "LAYER").ranks(2);
    Map<String, Long> once = kept.run().metrics().get(0).wireBytes();
    Map<String, Long> twice = again.run().metrics().get(0).wireBytes();
    // Two forward passes of one layer and one of a module for MTP, which reads a token less and
    // chooses other experts.
    double forward = (2.0 * TinyRun.SEQ_LEN + TinyRun.SEQ_LEN - 1) / (2 * TinyRun.SEQ_LEN - 1);
    for (String kind : List.of("dispatch", "combine")) {
      assertThat((double) twice.get(kind) / once.get(kind)).isCloseTo(forward, within(0.1));
    }
    for (String kind : List.of("dispatchBackward", "combineBackward")) {
      assertThat(twice.get(kind)).isEqualTo(once.get(kind));
    }
    double estimate =
        WireVolume.of(again.config(), 2).expertBytesPerToken()
            / WireVolume.of(kept.config(), 2).expertBytesPerToken();
    assertThat(estimate).isEqualTo(5.0 / 4);
  }

  @Test
  @DisplayName("a checkpoint may take longer than a deadline, on a rank and on the driver")
  void aSlowCheckpointIsWaitedFor() throws Exception {
    String quick = slowly(Duration.ZERO).in(folder.resolve("quick")).run().weightsSha256();
    TinyRun run = slowly(Duration.ofMillis(3500)).deadlines(3, 60);
    assertThat(run.run().weightsSha256()).isEqualTo(quick);
  }

  /** Two ranks; the second one's experts, and the manifest, take their time at step 2 of 3. */
  private TinyRun slowly(Duration time) throws Exception {
    FaultyStore store =
        new FaultyStore(new LocalStore(folder.resolve("slow-" + time)))
            .beforeCreating(
                path -> {
                  if (path.matches(".*step-00000002/(model/experts-00001.*|manifest.json)")) {
                    LockSupport.parkNanos(time.toNanos());
                  }
                });
    return new TinyRun().ranks(2).with("steps", 3).with("checkpoint_every", 2).in(store);
  }

  @Test
  @DisplayName("a checkpoint of another batch size is refused, naming both")
  void refusesAnotherBatch() throws Exception {
    stopAfter(10, folder);
    TinyRun other = new TinyRun().with("batch_sequences", 8).in(folder).resume(Resume.from(10));
    assertThatThrownBy(other::run)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("train.batch_sequences=7")
        .hasMessageContaining("this run has 8");
  }

  /** Leaves a run of 20 steps as a kill after that step would: its listener throws. */
  private static void stopAfter(int step, Path folder) throws Exception {
    TinyRun run =
        new TinyRun().ranks(2).with("checkpoint_every", 5).in(folder).listener(killer(step));
    assertThatThrownBy(run::run).hasMessageContaining("killed after step " + step);
  }

  private static RunListener killer(int step) {
    return new RunListener() {
      @Override
      public void onStep(StepMetrics metrics) {
        if (metrics.step() == step) {
          throw new IllegalStateException("killed after step " + step);
        }
      }
    };
  }
}
