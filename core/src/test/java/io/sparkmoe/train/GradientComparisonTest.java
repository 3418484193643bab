package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.train.GradientComparison.Result;
import java.nio.file.Path;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GradientComparisonTest {

  private static final long MEMORY = 256L << 20;

  @TempDir private Path folder;

  @Test
  @DisplayName("a checkpoint's gradients in fp8 point as in fp32, closest with the same experts")
  void comparesKinds() throws Exception {
    new TinyRun().with("steps", 5).in(folder).run();
    try (CheckpointReader checkpoint = new CheckpointStore(new LocalStore(folder)).open(5)) {
      Result result =
          GradientComparison.of(
              checkpoint, TinyRun.rows(12, 3), TinyRun.SEQ_LEN, Fp8Recipe.DEEPSEEK, 1, MEMORY);
      assertThat(result.kinds())
          .containsKeys("embed_tokens", "mlp.experts.up_proj", "self_attn.q_a_proj", "eh_proj");
      assertThat(result.kinds().get("mlp.experts.up_proj").elements()).isEqualTo(2 * 10 * 8 * 16);
      result
          .kinds()
          .forEach(
              (name, kind) -> {
                assertThat(kind.cosineOfSameExperts()).as(name).isBetween(0.7, 1.0);
                assertThat(kind.normRatio()).as(name).isCloseTo(1, within(0.3));
              });
      assertThat(result.sameExperts()).isBetween(0.8, 1.0);
      assertThat(result.fp8Loss())
          .isNotEqualTo(result.fp32Loss())
          .isCloseTo(result.fp32Loss(), within(0.01));
    }
  }

  @Test
  @DisplayName("a kind is a name without the numbers of layers and experts")
  void kinds() {
    assertThat(GradientComparison.kindOf("model.layers.3.mlp.experts.17.gate_proj.weight"))
        .isEqualTo("mlp.experts.gate_proj");
    assertThat(GradientComparison.kindOf("model.layers.0.mlp.shared_experts.up_proj.weight"))
        .isEqualTo("mlp.shared_experts.up_proj");
    assertThat(GradientComparison.kindOf("lm_head.weight")).isEqualTo("lm_head");
  }
}
