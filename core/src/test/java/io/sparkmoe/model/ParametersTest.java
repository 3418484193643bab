package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.kernel.Weight;
import io.sparkmoe.model.ParameterBlock.Segment;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.OutOfArenaException;
import io.sparkmoe.tensor.Tensor;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Names, storage and initial values of the weights. */
class ParametersTest {

  private static final ModelConfig CONFIG =
      TinyModel.config(Map.of("num_nextn_predict_layers", 1, "initializer_range", 0.02));

  private final Arena arena = new Arena("test", 1 << 26);

  @AfterEach
  void nothingLeaks() {
    arena.close();
  }

  private Parameters allocate(int rank, int ranks, Set<Part> parts) {
    return Parameters.allocate(
        CONFIG,
        new ExpertPlacement(CONFIG.numRoutedExperts(), ranks),
        rank,
        parts,
        DType.F32,
        true,
        arena);
  }

  @Test
  void namesAreHuggingFaces() {
    try (Parameters parameters = Parameters.allocateAll(CONFIG, DType.F32, arena)) {
      Set<String> names = new TreeSet<>();
      parameters.all().forEach(parameter -> names.add(parameter.name()));
      assertThat(names)
          .contains(
              "model.embed_tokens.weight",
              "model.layers.0.mlp.gate_proj.weight",
              "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
              "model.layers.1.mlp.experts.7.down_proj.weight",
              "model.layers.1.mlp.shared_experts.up_proj.weight",
              "model.layers.1.mlp.gate.weight",
              "model.layers.1.mlp.gate.e_score_correction_bias",
              "model.layers.2.eh_proj.weight",
              "model.layers.2.shared_head.norm.weight",
              "model.norm.weight",
              "lm_head.weight")
          .doesNotContain("model.layers.0.mlp.gate.weight", "model.layers.1.mlp.gate_proj.weight");
      assertThat(parameters.find("model.layers.2.eh_proj.weight").value().shape())
          .containsExactly(6, 12);
      assertThat(parameters.find("model.layers.1.mlp.experts.7.down_proj.weight").value().shape())
          .containsExactly(6, 3);
    }
  }

  /**
   * A value written under its Hugging Face name is read through the packed weight, and gradients
   * likewise.
   */
  @Test
  void packedWeightsAreViewsOfTheNamedOnes() {
    try (Parameters parameters = Parameters.allocateAll(CONFIG, DType.F32, arena)) {
      Parameter up = parameters.find("model.layers.1.mlp.experts.5.up_proj.weight");
      up.value().set(1, 7);
      up.gradient().set(2, 9);
      Weight packed = parameters.weight("model.layers.1.mlp.experts.gate_up_proj");
      int start = (5 * 2 + 1) * 3 * 6;
      assertThat(packed.value().shape()).containsExactly(8, 6, 6);
      assertThat(packed.value().getFloat(start + 1)).isEqualTo(7);
      assertThat(packed.gradient().getFloat(start + 2)).isEqualTo(9);

      Tensor latentAndRope =
          parameters.find("model.layers.0.self_attn.kv_a_proj_with_mqa.weight").value();
      latentAndRope.set(4 * 6, 5);
      Tensor rope = parameters.weight("model.layers.0.self_attn.k_rope_proj").value();
      assertThat(rope.shape()).containsExactly(4, 6);
      assertThat(rope.getFloat(0)).isEqualTo(5);
      assertThat(parameters.weight("model.layers.0.self_attn.kv_a_proj").value().shape())
          .containsExactly(4, 6);
    }
  }

  /**
   * Every trained element is in one segment of one block, decayed exactly when its parameter is a
   * matrix.
   */
  @Test
  void segmentsCoverTheBlocksByDecay() {
    try (Parameters parameters = Parameters.allocateAll(CONFIG, DType.F32, arena)) {
      for (Parameter parameter : parameters.all()) {
        if (parameter.gradient() != null) {
          for (int i = 0; i < parameter.gradient().size(); i++) {
            parameter.gradient().set(i, parameter.isDecayed() ? 1 : 2);
          }
        }
      }
      long covered = 0;
      for (Part part : Part.values()) {
        for (ParameterBlock block : parameters.blocks(part)) {
          int next = 0;
          for (Segment segment : block.segments()) {
            assertThat(segment.offset()).as(block.name()).isEqualTo(next);
            next += segment.size();
            for (int i = segment.offset(); i < next; i++) {
              assertThat(block.gradient().getFloat(i))
                  .as(block.name())
                  .isEqualTo(segment.decayed() ? 1 : 2);
            }
          }
          assertThat(next).as(block.name()).isEqualTo(block.value().size());
          covered += next;
        }
      }
      long trained =
          parameters.all().stream()
              .filter(parameter -> parameter.gradient() != null)
              .mapToLong(parameter -> parameter.value().size())
              .sum();
      assertThat(covered).isEqualTo(trained);
      parameters.zeroGradients();
      for (Parameter parameter : parameters.all()) {
        for (int i = 0; parameter.gradient() != null && i < parameter.gradient().size(); i++) {
          assertThat(parameter.gradient().getFloat(i)).isZero();
        }
      }
    }
  }

  @Test
  void ranksHoldTheirExpertsAndTheDriverTheGates() {
    try (Parameters rank1 = allocate(1, 3, EnumSet.of(Part.REPLICATED, Part.EXPERT));
        Parameters driver = allocate(0, 3, EnumSet.of(Part.GATE))) {
      assertThat(rank1.find("model.layers.1.mlp.experts.2.gate_proj.weight")).isNull();
      assertThat(rank1.find("model.layers.1.mlp.experts.3.gate_proj.weight")).isNotNull();
      assertThat(rank1.find("model.layers.1.mlp.experts.5.gate_proj.weight")).isNotNull();
      assertThat(rank1.find("model.layers.1.mlp.experts.6.gate_proj.weight")).isNull();
      assertThat(rank1.find("model.layers.1.mlp.gate.weight")).isNull();
      assertThat(driver.all()).extracting(Parameter::part).containsOnly(Part.GATE);
      assertThat(driver.blocks(Part.GATE))
          .extracting(ParameterBlock::name)
          .isEqualTo(List.of("layers.1.gate", "layers.2.gate"));
      assertThat(driver.find("model.layers.1.mlp.gate.e_score_correction_bias").gradient())
          .isNull();
      assertThatThrownBy(() -> driver.weight("lm_head.weight"))
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("no weight named lm_head.weight on this end");
    }
  }

  @Test
  void initialValuesDoNotDependOnWhoHoldsThem() {
    try (Parameters whole = Parameters.allocateAll(CONFIG, DType.F32, arena);
        Parameters part = allocate(2, 3, EnumSet.of(Part.REPLICATED, Part.EXPERT))) {
      whole.initialize(11);
      part.initialize(11);
      for (Parameter parameter : part.all()) {
        assertThat(parameter.value().toFloatArray())
            .as(parameter.name())
            .isEqualTo(whole.find(parameter.name()).value().toFloatArray());
      }
      float[] embedding = whole.find("model.embed_tokens.weight").value().toFloatArray();
      double squares = 0;
      for (float value : embedding) {
        squares += value * value;
      }
      assertThat(Math.sqrt(squares / embedding.length)).isBetween(0.014, 0.026);
      assertThat(whole.find("model.norm.weight").value().toFloatArray()).containsOnly(1);
      assertThat(
              whole.find("model.layers.1.mlp.gate.e_score_correction_bias").value().toFloatArray())
          .containsOnly(0);
      whole.initialize(12);
      assertThat(whole.find("model.embed_tokens.weight").value().toFloatArray())
          .isNotEqualTo(embedding);
    }
  }

  @Test
  void whatDoesNotFitLeavesNothingBehind() {
    try (Arena small = new Arena("small", 4096)) {
      assertThatThrownBy(() -> Parameters.allocateAll(CONFIG, DType.F32, small))
          .isInstanceOf(OutOfArenaException.class);
      assertThat(small.usedBytes()).isZero();
    }
  }
}
