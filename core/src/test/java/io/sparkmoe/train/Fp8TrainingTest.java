package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.checkpoint.SafetensorsReader;
import io.sparkmoe.checkpoint.SafetensorsType;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.protocol.Fp8Rounding;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Training runs with {@code train.precision=fp8}. */
class Fp8TrainingTest {

  @TempDir private Path folder;

  private static TinyRun fp8() {
    return new TinyRun().with("precision", "FP8");
  }

  @Test
  @DisplayName("fp8 learns as fp32 does, and not the same bits")
  void learns() throws Exception {
    List<StepMetrics> fp8 = fp8().with("steps", 80).threads(2).run().metrics();
    List<StepMetrics> fp32 = new TinyRun().with("steps", 80).threads(2).run().metrics();
    assertThat(fp8.get(0).mainLoss()).isCloseTo(fp32.get(0).mainLoss(), within(1e-3));
    assertThat(fp8.get(0).mainLoss()).isNotEqualTo(fp32.get(0).mainLoss());
    assertThat(fp8.get(79).mainLoss())
        .isLessThan(0.75 * fp8.get(0).mainLoss())
        .isCloseTo(fp32.get(79).mainLoss(), within(0.03));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  @DisplayName("several ranks agree with one but for tiles that begin at other tokens")
  void ranksAgree(int ranks) throws Exception {
    List<StepMetrics> one = fp8().run().metrics();
    List<StepMetrics> many = fp8().ranks(ranks).run().metrics();
    assertThat(many.get(0).loss()).isCloseTo(one.get(0).loss(), within(1e-5));
    for (int i = 0; i < one.size(); i++) {
      double expected = one.get(i).loss();
      assertThat(many.get(i).loss())
          .as("loss of step %d", i + 1)
          .isCloseTo(expected, within(1e-2 * expected));
    }
  }

  @Test
  @DisplayName("a gate on the driver and one on the executors end with the same weights in fp8")
  void gatePlacementsAgree() throws Exception {
    TinyRun executor = fp8().ranks(2).gate(GatePlacement.EXECUTOR);
    TinyRun driver = fp8().ranks(2).gate(GatePlacement.DRIVER);
    assertThat(driver.in(folder.resolve("d")).run().weightsSha256())
        .isEqualTo(executor.in(folder.resolve("e")).run().weightsSha256());
  }

  @Test
  @DisplayName("resumed fp8 steps end with the weights of unbroken ones, on lossy wires")
  void resumesWithTheSameBits() throws Exception {
    String unbroken = lossy().in(folder.resolve("unbroken")).run().weightsSha256();
    Path broken = folder.resolve("broken");
    RunListener killer =
        new RunListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            if (metrics.step() == 10) {
              throw new IllegalStateException("killed");
            }
          }
        };
    assertThatThrownBy(lossy().with("checkpoint_every", 5).in(broken).listener(killer)::run)
        .hasMessageContaining("killed");
    assertThat(lossy().in(broken).run().weightsSha256()).isEqualTo(unbroken);
  }

  private static TinyRun lossy() {
    return fp8().ranks(2).gate(GatePlacement.DRIVER).wires(Wire.FP8, Wire.FP8, Wire.BF16);
  }

  @Test
  @DisplayName("AdamW's moments take two bytes each, and a checkpoint stores them as they are")
  void momentsAreBfloat16() throws Exception {
    fp8().with("steps", 2).in(folder).run();
    String file = "checkpoints/step-00000002/optimizer/replicated.safetensors";
    try (SafetensorsReader moments = SafetensorsReader.open(new LocalStore(folder), file)) {
      assertThat(moments.names())
          .isNotEmpty()
          .allSatisfy(
              name -> assertThat(moments.info(name).type()).isEqualTo(SafetensorsType.BF16));
    }
  }

  @ParameterizedTest
  @CsvSource({"FP32,FP8", "FP8,FP32"})
  @DisplayName("a checkpoint of another precision is refused, naming both")
  void refusesAnotherPrecision(String then, String now) throws Exception {
    new TinyRun().with("precision", then).with("steps", 2).in(folder).run();
    TinyRun other = new TinyRun().with("precision", now).in(folder).resume(Resume.from(2));
    assertThatThrownBy(other::run)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("train.precision=" + then.toLowerCase(Locale.ROOT))
        .hasMessageContaining("this run has " + now.toLowerCase(Locale.ROOT));
  }

  @Test
  @DisplayName("underflow, saturation and largest magnitude are counted when asked, by tensor kind")
  void countsRounding() throws Exception {
    List<StepMetrics> steps = fp8().with("steps", 4).with("fp8_stats_every", 2).run().metrics();
    assertThat(steps.get(0).fp8Rounding()).isNull();
    Map<String, Fp8Rounding> counted = steps.get(1).fp8Rounding();
    assertThat(counted)
        .containsOnlyKeys(
            "input",
            "inputTransposed",
            "gateUp",
            "hidden",
            "gradient",
            "gradientTransposed",
            "weight");
    assertThat(counted.values())
        .allSatisfy(
            kind -> {
              assertThat(kind.values()).isPositive();
              assertThat(kind.amax()).isPositive();
              assertThat(kind.underflow()).isBetween(0.0, 0.1);
              assertThat(kind.saturation()).isZero();
            });
    assertThat(steps.get(2).fp8Rounding()).isNull();
    List<StepMetrics> uncounted = fp8().with("steps", 4).run().metrics();
    assertThat(steps.get(3).loss()).isEqualTo(uncounted.get(3).loss());
  }

  @ParameterizedTest
  @ValueSource(strings = {"PER_TENSOR", "E5M2_GRADIENTS", "BLOCK_ACTIVATIONS", "BF16_MASTER"})
  @DisplayName("every recipe trains, each in its own way")
  void recipesDiffer(String recipe) throws Exception {
    List<StepMetrics> deepseek = fp8().with("steps", 6).run().metrics();
    List<StepMetrics> other = fp8().with("steps", 6).with("fp8_recipe", recipe).run().metrics();
    assertThat(other.get(5).loss())
        .isNotEqualTo(deepseek.get(5).loss())
        .isCloseTo(deepseek.get(5).loss(), within(0.1));
  }
}
