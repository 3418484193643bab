package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Gradients of the step that follows an optimizer step, which left zeros. */
class GradientsAfterStepTest {

  private static final long SEED = Long.getLong("moe.seed", 42);

  private static final ModelConfig CONFIG = TinyModel.config(Map.of());

  private static final LossScales SCALES = new LossScales(0.05, new double[0], 0.01);

  @Test
  void expertsAddUpOverMicroBatches() {
    agree(() -> new TinyModel(CONFIG, DType.F32, new ReferenceKernels()));
    agree(() -> TinyModel.inFp8(CONFIG, new ReferenceKernels()));
  }

  private static void agree(Supplier<TinyModel> makes) {
    Map<String, float[]> afterStep = gradients(makes.get(), true);
    Map<String, float[]> added = gradients(makes.get(), false);
    assertThat(afterStep.keySet()).isEqualTo(added.keySet());
    for (String name : added.keySet()) {
      assertThat(afterStep.get(name)).as(name).isEqualTo(added.get(name));
    }
  }

  private static Map<String, float[]> gradients(TinyModel made, boolean optimized) {
    try (TinyModel model = made) {
      model.parameters.initialize(SEED);
      if (optimized) {
        // What an optimizer step used up must not be read again.
        model.parameters.all().stream()
            .filter(parameter -> parameter.part() == Part.EXPERT)
            .forEach(expert -> spoil(expert.gradient()));
        model.layers.optimized();
      }
      SplittableRandom random = new SplittableRandom(SEED);
      for (int microBatch = 0; microBatch < 2; microBatch++) {
        // Few tokens, so that some experts meet none in the first and some in the second.
        TokenBatch batch = model.batch(random, 2, 2);
        model.model.train(1, microBatch, batch, SCALES, model.arena);
      }
      Map<String, float[]> gradients = new HashMap<>();
      for (Parameter parameter : model.parameters.all()) {
        if (parameter.gradient() != null) {
          gradients.put(parameter.name(), parameter.gradient().toFloatArray());
        }
      }
      return gradients;
    }
  }

  private static void spoil(Tensor gradient) {
    for (int i = 0; i < gradient.size(); i++) {
      gradient.setFloat(i, Float.NaN);
    }
  }
}
