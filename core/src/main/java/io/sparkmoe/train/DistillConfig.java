package io.sparkmoe.train;

import com.fasterxml.jackson.annotation.JsonProperty;
import io.sparkmoe.kernel.DistillationLoss;
import io.sparkmoe.kernel.DistillationLoss.Divergence;
import java.io.Serializable;
import java.util.Locale;

/**
 * How a student learns from a teacher's rows ({@code distill:} in the YAML file); rows without a
 * teacher are learnt as plain text whatever it says.
 *
 * @param loss what is compared
 * @param temperature of both distributions; the loss is multiplied by its square
 * @param crossEntropyWeight share of plain next-token cross-entropy in the loss, in [0, 1]
 * @param maskPrompt whether a prompt's tokens are left out of the loss
 */
public record DistillConfig(
    @JsonProperty("loss") Loss loss,
    @JsonProperty("temperature") double temperature,
    @JsonProperty("cross_entropy_weight") double crossEntropyWeight,
    @JsonProperty("mask_prompt") boolean maskPrompt)
    implements Serializable {

  /** What a student is trained towards. */
  public enum Loss {
    /** The teacher's text alone. */
    CROSS_ENTROPY,
    /** Stored top-k and one bucket for all other tokens. */
    BUCKET,
    /** Stored top-k as if the teacher had given nothing else. */
    ZERO_TAIL,
    /** KL(teacher, student) over the whole vocabulary. */
    FORWARD_KL,
    /** KL(student, teacher) over stored top-k and the bucket. */
    REVERSE_KL
  }

  public DistillConfig {
    require(
        temperature > 0 && Double.isFinite(temperature),
        "temperature must be > 0, got " + temperature);
    require(
        crossEntropyWeight >= 0 && crossEntropyWeight <= 1,
        "cross_entropy_weight must be in [0, 1], got " + crossEntropyWeight);
  }

  /** What a run has that names nothing else. */
  public static DistillConfig defaults() {
    return new DistillConfig(Loss.BUCKET, 1, 0, true);
  }

  /** The same with another loss. */
  public DistillConfig withLoss(Loss other) {
    return new DistillConfig(other, temperature, crossEntropyWeight, maskPrompt);
  }

  /** The loss as a person writes it. */
  public String lossName() {
    return loss.name().toLowerCase(Locale.ROOT);
  }

  /** Whether the loss reads a teacher's stored probabilities. */
  public boolean readsTeacher() {
    return loss != Loss.CROSS_ENTROPY;
  }

  /** The loss of rows that have a teacher; only where it {@link #readsTeacher}. */
  DistillationLoss rowLoss() {
    Divergence divergence =
        switch (loss) {
          case ZERO_TAIL -> Divergence.ZERO_TAIL;
          case REVERSE_KL -> Divergence.REVERSE;
          // Over the whole vocabulary there is no tail, and the bucket loss is the forward KL.
          case BUCKET, FORWARD_KL -> Divergence.BUCKET;
          case CROSS_ENTROPY ->
              throw new IllegalStateException("cross-entropy compares with no teacher");
        };
    return new DistillationLoss(divergence, temperature, crossEntropyWeight);
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException("distill." + message);
    }
  }
}
