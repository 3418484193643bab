package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.layer.FeedForward;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.layer.ProjectionInput;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Hand-written gradients equal central differences, in double, for every kind of layer and for the
 * whole model. The loss of a layer is the sum of its outputs times fixed random numbers.
 */
class GradientTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int SAMPLES = 6;

  private static final Map<String, Object> YARN =
      Map.of(
          "factor",
          4.0,
          "beta_fast",
          32.0,
          "beta_slow",
          1.0,
          "mscale",
          1.0,
          "mscale_all_dim",
          0.7,
          "original_max_position_embeddings",
          16);

  private final SplittableRandom random = new SplittableRandom(SEED);

  @ParameterizedTest
  @CsvSource({"5,false", "0,false", "5,true", "0,true"})
  void latentAttention(int queryBottleneck, boolean yarn) {
    Map<String, Object> changes =
        yarn
            ? Map.of("q_lora_rank", queryBottleneck, "rope_parameters", YARN)
            : Map.of("q_lora_rank", queryBottleneck);
    Layers layers = new ExactLayers(new ReferenceKernels());
    try (TinyModel tiny =
        new TinyModel(TinyModel.config(changes), DType.F64, layers.kernels()).randomise(random)) {
      String prefix = Parameters.layerPrefix(0) + "self_attn.";
      RotaryAngles angles = new RotaryAngles(tiny.parameters.config());
      LatentAttention attention =
          new LatentAttention(prefix, tiny.parameters, angles.softmaxScale(), layers);
      Sequences sequences = sequences(tiny, angles, 2, 5);
      Tensor x = tiny.gaussian(random, DType.F64, 10, 6);
      Tensor dy = tiny.gaussian(random, DType.F64, 10, 6);
      Tensor dx = tiny.scope.zeros(DType.F64, 10, 6);
      ProjectionInput input = layers.input(x, tiny.scope, tiny.scope);
      attention.backward(
          dx,
          dy,
          attention.forward(tiny.scope.zeros(DType.F64, 10, 6), input, sequences, tiny.scope),
          sequences,
          tiny.scope);
      DoubleSupplier loss =
          () -> {
            try (Scope scope = tiny.arena.scope()) {
              Tensor y = scope.zeros(DType.F64, 10, 6);
              attention.forward(y, input, sequences, scope);
              return dot(y, dy);
            }
          };
      GradientCheck.check("x", x, dx, loss, 60, random);
      checkParameters(tiny, prefix, loss);
    }
  }

  @Test
  void denseFeedForward() {
    Layers layers = new ExactLayers(new ReferenceKernels());
    try (TinyModel tiny =
        new TinyModel(TinyModel.config(Map.of()), DType.F64, layers.kernels()).randomise(random)) {
      String prefix = Parameters.layerPrefix(0) + "mlp.";
      FeedForward ffn =
          layers.feedForward(
              tiny.parameters.weight(prefix + "gate_up_proj"),
              tiny.parameters.weight(prefix + "down_proj.weight"));
      Tensor x = tiny.gaussian(random, DType.F64, 4, 6);
      Tensor dy = tiny.gaussian(random, DType.F64, 4, 6);
      Tensor dx = tiny.scope.zeros(DType.F64, 4, 6);
      ProjectionInput input = layers.input(x, tiny.scope, tiny.scope);
      ffn.backward(
          dx, dy, ffn.forward(tiny.scope.zeros(DType.F64, 4, 6), input, tiny.scope), tiny.scope);
      DoubleSupplier loss =
          () -> {
            try (Scope scope = tiny.arena.scope()) {
              Tensor y = scope.zeros(DType.F64, 4, 6);
              ffn.forward(y, input, scope);
              return dot(y, dy);
            }
          };
      GradientCheck.check("x", x, dx, loss, 24, random);
      checkParameters(tiny, prefix, loss);
    }
  }

  /**
   * Layer 0 is dense, layer 1 has experts: the gate, the balance loss with its factor alpha, routed
   * and shared experts, both norms.
   */
  @ParameterizedTest
  @CsvSource({
    "0,1,true,0.3",
    "1,1,true,0.3",
    "1,2,false,0.3",
    "1,0,true,0.3",
    "1,1,true,0",
    "1,1,false,0"
  })
  void decoderLayer(int layerNumber, int sharedExperts, boolean normalise, double alpha) {
    FrozenRouting routing = new FrozenRouting();
    Kernels kernels = routing.kernels();
    Map<String, Object> changes =
        Map.of("n_shared_experts", sharedExperts, "norm_topk_prob", normalise);
    try (TinyModel tiny =
        new TinyModel(TinyModel.config(changes), DType.F64, kernels).randomise(random)) {
      RotaryAngles angles = new RotaryAngles(tiny.parameters.config());
      DecoderLayer layer =
          new DecoderLayer(
              layerNumber,
              tiny.parameters,
              angles.softmaxScale(),
              tiny.gate,
              tiny.dispatcher,
              new ExactLayers(kernels),
              new PhaseClock(Phase.TRUNK));
      Sequences sequences = sequences(tiny, angles, 2, 5);
      Tensor x = tiny.gaussian(random, DType.F64, 10, 6);
      Tensor dy = tiny.gaussian(random, DType.F64, 10, 6);
      Tensor d = tiny.scope.allocate(DType.F64, 10, 6);
      d.copyFrom(dy);
      Tensor output = tiny.scope.allocate(DType.F64, 10, 6);
      DecoderLayer.Saved saved =
          layer.forward(output, x, sequences, new Pass(1, 0, true), null, tiny.scope);
      routing.freeze();
      layer.backward(d, saved, sequences, alpha, tiny.scope);
      DoubleSupplier loss =
          () -> {
            try (Scope scope = tiny.arena.scope()) {
              Tensor y = scope.allocate(DType.F64, 10, 6);
              DecoderLayer.Saved again =
                  layer.forward(y, x, sequences, new Pass(1, 1, false), null, scope);
              routing.freeze();
              return dot(y, dy) + alpha * again.balanceLoss();
            }
          };
      GradientCheck.check("x", x, d, loss, 60, random);
      checkParameters(tiny, Parameters.layerPrefix(layerNumber), loss);
    }
  }

  /**
   * Two chained MTP modules, padding, ignored targets, two micro-batches whose gradients add up.
   */
  @ParameterizedTest
  @ValueSource(strings = {"POST_NORM", "PRE_NORM"})
  void wholeModel(String mtpHidden) {
    FrozenRouting routing = new FrozenRouting();
    Map<String, Object> changes = Map.of("num_nextn_predict_layers", 2, "mtp_hidden", mtpHidden);
    LossScales scales = new LossScales(0.11, new double[] {0.05, 0.07}, 0.02);
    try (TinyModel tiny =
        new TinyModel(TinyModel.config(changes), DType.F64, routing.kernels()).randomise(random)) {
      List<TokenBatch> batches = List.of(tiny.batch(random, 6, 6, 4), tiny.batch(random, 6, 5));
      for (int i = 0; i < batches.size(); i++) {
        tiny.model.train(1, i, batches.get(i), scales, tiny.arena);
      }
      routing.freeze();
      DoubleSupplier loss =
          () -> {
            double total = 0;
            for (TokenBatch batch : batches) {
              total += total(tiny.model.evaluate(1, 2, batch, tiny.arena), scales);
            }
            routing.freeze();
            return total;
          };
      for (Parameter parameter : tiny.parameters.all()) {
        if (parameter.gradient() != null) {
          GradientCheck.check(
              parameter.name(), parameter.value(), parameter.gradient(), loss, 2, random);
        }
      }
    }
  }

  /** Without alpha and lambda, only the main loss moves anything. */
  @Test
  void scalesOfZeroTakeTheirLossOutOfTheGradient() {
    Map<String, Object> changes = Map.of("num_nextn_predict_layers", 1);
    try (TinyModel tiny =
        new TinyModel(TinyModel.config(changes), DType.F64, new ReferenceKernels())
            .randomise(random)) {
      TokenBatch batch = tiny.batch(random, 6, 6);
      tiny.model.train(1, 0, batch, new LossScales(1, new double[] {0}, 0), tiny.arena);
      for (Parameter parameter : tiny.parameters.all()) {
        if (parameter.name().startsWith("model.layers.2.") && parameter.gradient() != null) {
          assertThat(tiny.kernels.sumOfSquares(parameter.gradient())).as(parameter.name()).isZero();
        }
      }
      Tensor head = tiny.parameters.find("lm_head.weight").gradient();
      assertThat(tiny.kernels.sumOfSquares(head)).isPositive();
    }
  }

  private static double total(Losses losses, LossScales scales) {
    double total = scales.main() * losses.mainSum() + scales.balance() * losses.balanceSum();
    for (int k = 0; k < losses.mtpSum().length; k++) {
      total += scales.mtp()[k] * losses.mtpSum()[k];
    }
    return total;
  }

  private void checkParameters(TinyModel tiny, String prefix, DoubleSupplier loss) {
    int checked = 0;
    for (Parameter parameter : tiny.parameters.all()) {
      if (parameter.name().startsWith(prefix) && parameter.gradient() != null) {
        GradientCheck.check(
            parameter.name(), parameter.value(), parameter.gradient(), loss, SAMPLES, random);
        checked++;
      }
    }
    assertThat(checked).as("parameters under %s", prefix).isPositive();
  }

  private static Sequences sequences(TinyModel tiny, RotaryAngles angles, int count, int length) {
    Tensor cos = tiny.scope.allocate(DType.F64, length, 2);
    Tensor sin = tiny.scope.allocate(DType.F64, length, 2);
    angles.write(cos, sin);
    Tensor valid = tiny.scope.allocate(DType.I32, count);
    for (int b = 0; b < count; b++) {
      valid.setInt(b, length - b);
    }
    return new Sequences(count, length, cos, sin, valid);
  }

  private static double dot(Tensor a, Tensor b) {
    double sum = 0;
    for (int i = 0; i < a.size(); i++) {
      sum += a.get(i) * b.get(i);
    }
    return sum;
  }
}
