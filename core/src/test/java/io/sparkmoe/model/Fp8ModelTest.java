package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The model in FP8 against the same weights in FP32. */
class Fp8ModelTest {

  private static final long SEED = Long.getLong("moe.seed", 42);

  /** Wider than a tile, and not a multiple of one. */
  private static final ModelConfig CONFIG =
      TinyModel.config(
          Map.of(
              "hidden_size", 136,
              "intermediate_size", 140,
              "moe_intermediate_size", 24,
              "q_lora_rank", 20,
              "num_nextn_predict_layers", 1,
              "initializer_range", 0.08));

  private static final LossScales SCALES = new LossScales(0.05, new double[] {0.02}, 0.01);

  /** Through some 25 products one behind the other; Fp8LayersTest looks at each alone. */
  private static final double LEAST_COSINE = 0.95;

  /**
   * What comes of differences that nearly cancel: a gate's gradient is what an expert adds to the
   * loss less what the chosen ones add on average, a score's the same over positions.
   */
  private static final double LEAST_COSINE_OF_DIFFERENCES = 0.7;

  private static final Pattern DIFFERENCES = Pattern.compile(".*(gate|_a_layernorm)\\.weight");

  @Test
  void gradientsPointWhereThoseOfFp32Point() {
    FrozenRouting routing = new FrozenRouting();
    Map<String, float[]> expected = new HashMap<>();
    Losses exact;
    try (TinyModel fp32 = new TinyModel(CONFIG, DType.F32, routing.kernels())) {
      exact = train(fp32);
      for (Parameter parameter : fp32.parameters.all()) {
        if (parameter.gradient() != null) {
          expected.put(parameter.name(), parameter.gradient().toFloatArray());
        }
      }
    }
    routing.freeze();
    try (TinyModel fp8 = TinyModel.inFp8(CONFIG, routing.kernels())) {
      Losses rounded = train(fp8);
      assertThat(rounded.mainSum()).isCloseTo(exact.mainSum(), within(0.01 * exact.mainSum()));
      assertThat(rounded.mainSum()).isNotEqualTo(exact.mainSum());
      for (Map.Entry<String, float[]> entry : expected.entrySet()) {
        Tensor gradient = fp8.parameters.find(entry.getKey()).gradient();
        boolean small = DIFFERENCES.matcher(entry.getKey()).matches();
        assertThat(cosine(entry.getValue(), gradient))
            .as(entry.getKey())
            .isGreaterThan(small ? LEAST_COSINE_OF_DIFFERENCES : LEAST_COSINE);
      }
    }
  }

  private static Losses train(TinyModel tiny) {
    tiny.parameters.initialize(SEED);
    TokenBatch batch = tiny.batch(new SplittableRandom(SEED), 24, 24, 20);
    return tiny.model.train(1, 0, batch, SCALES, tiny.arena);
  }

  /** One for two gradients of zero: an expert without tokens has none in either. */
  private static double cosine(float[] a, Tensor b) {
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < a.length; i++) {
      dot += a[i] * b.getFloat(i);
      aa += a[i] * a[i];
      bb += b.getFloat(i) * b.getFloat(i);
    }
    return aa == 0 && bb == 0 ? 1 : dot / Math.sqrt(aa * bb);
  }

  /** Weights are rounded again only when they are said to have changed. */
  @Test
  void operandsOfWeightsFollowTheirWeights() {
    try (TinyModel fp8 = TinyModel.inFp8(CONFIG, new ReferenceKernels())) {
      fp8.parameters.initialize(SEED);
      TokenBatch batch = fp8.batch(new SplittableRandom(SEED), 6, 6);
      double before = fp8.model.evaluate(1, 0, batch, fp8.arena).mainSum();
      for (Parameter parameter : fp8.parameters.all()) {
        if (parameter.name().endsWith("down_proj.weight")) {
          parameter.value().zero();
        }
      }
      assertThat(fp8.model.evaluate(1, 1, batch, fp8.arena).mainSum()).isEqualTo(before);
      fp8.layers.optimized();
      assertThat(fp8.model.evaluate(1, 2, batch, fp8.arena).mainSum()).isNotEqualTo(before);
    }
  }

  /** What a decoder layer of that shape keeps between forward and backward, bytes. */
  private static long savedBytes(boolean inFp8, int layer) {
    ModelConfig quickstart =
        TinyModel.config(
            Map.of(
                "hidden_size", 128,
                "q_lora_rank", 48,
                "kv_lora_rank", 32,
                "qk_nope_head_dim", 32,
                "qk_rope_head_dim", 16,
                "v_head_dim", 32,
                "num_attention_heads", 4,
                "intermediate_size", 512,
                "moe_intermediate_size", 64,
                "num_experts_per_tok", 4));
    ReferenceKernels kernels = new ReferenceKernels();
    try (TinyModel tiny =
        inFp8
            ? TinyModel.inFp8(quickstart, kernels)
            : new TinyModel(quickstart, DType.F32, kernels)) {
      tiny.parameters.initialize(SEED);
      RotaryAngles angles = new RotaryAngles(quickstart);
      DecoderLayer decoder =
          new DecoderLayer(
              layer,
              tiny.parameters,
              angles.softmaxScale(),
              tiny.gate,
              tiny.dispatcher,
              tiny.layers,
              new PhaseClock(Phase.TRUNK));
      Tensor x = tiny.gaussian(new SplittableRandom(SEED), DType.F32, 64, 128);
      Tensor y = tiny.scope.allocate(DType.F32, 64, 128);
      Tensor cos = tiny.scope.allocate(DType.F32, 64, 8);
      Tensor sin = tiny.scope.allocate(DType.F32, 64, 8);
      angles.write(cos, sin);
      Tensor valid = tiny.scope.allocate(DType.I32, 1);
      valid.setInt(0, 64);
      // Weights' operands are made at the first use and do not count.
      for (int pass = 0; pass < 2; pass++) {
        long before = tiny.arena.usedBytes();
        decoder.forward(
            y,
            x,
            new Sequences(1, 64, cos, sin, valid),
            new Pass(1, pass, false),
            null,
            tiny.scope);
        if (pass == 1) {
          return tiny.arena.usedBytes() - before;
        }
      }
      throw new AssertionError();
    }
  }

  @Test
  void aLayerKeepsMuchLessThanInFp32() {
    for (int layer = 0; layer < 2; layer++) {
      double ratio = (double) savedBytes(true, layer) / savedBytes(false, layer);
      assertThat(ratio).as("layer %d", layer).isLessThan(0.4);
    }
  }
}
