package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Scaling;
import io.sparkmoe.kernel.Fp8Statistics;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.EnumMap;
import java.util.Map;

/**
 * Rounds tensors to FP8 by the recipe of one model, and counts what the rounding did while asked
 * to. What it returns are operands ({@link Kernels#operandType}): they hold FP8 values exactly, as
 * products read them.
 *
 * <p>Legend: R rows, N columns.
 */
final class Fp8Quantizer {

  private final Kernels kernels;
  private final Fp8Recipe recipe;
  private final Map<Fp8TensorKind, Fp8Statistics> statistics = new EnumMap<>(Fp8TensorKind.class);
  private boolean counting;

  Fp8Quantizer(Kernels kernels, Fp8Recipe recipe) {
    this.kernels = kernels;
    this.recipe = recipe;
    for (Fp8TensorKind kind : Fp8TensorKind.values()) {
      statistics.put(kind, new Fp8Statistics());
    }
  }

  /** Begins a new count, or stops counting. */
  void count(boolean on) {
    counting = on;
    statistics.values().forEach(Fp8Statistics::clear);
  }

  /** What was counted, by kind. */
  Map<Fp8TensorKind, Fp8Statistics> statistics() {
    return statistics;
  }

  /**
   * Whether a gated network may run between its products in one fused kernel, which knows one
   * recipe and does not count.
   */
  boolean fusesGated() {
    return recipe.hasStandardRounding() && !counting;
  }

  /**
   * {@link Kernels#forEachGroup}; one after the other while it counts, for the sake of the sums.
   */
  void forEachGroup(int[] rowStarts, Kernels.GroupBody body) {
    if (counting) {
      Kernels.forEachGroupInTurn(rowStarts, body);
    } else {
      kernels.forEachGroup(rowStarts, body);
    }
  }

  Kernels kernels() {
    return kernels;
  }

  /** Scaling of a kind of tensor. */
  Fp8Scaling scaling(Fp8TensorKind kind) {
    return switch (kind) {
      case INPUT, GATE_UP, HIDDEN -> recipe.input();
      case INPUT_TRANSPOSED -> recipe.inputTransposed();
      case GRADIENT -> recipe.gradient();
      case GRADIENT_TRANSPOSED -> recipe.gradientTransposed();
      case WEIGHT -> recipe.weight();
    };
  }

  /** Where a kind is counted, null when nothing is. */
  Fp8Statistics counter(Fp8TensorKind kind) {
    return counting ? statistics.get(kind) : null;
  }

  /** Unwritten codes and scales of a kind. */
  Fp8Tensor allocate(Fp8TensorKind kind, Allocator allocator, int... shape) {
    return Fp8Tensor.allocate(allocator, scaling(kind).format(), shape);
  }

  /**
   * Rounds x.
   *
   * @param operand written, or null
   * @param kept written, or null
   * @param rowStarts groups of rows that share no scale, null = one group
   */
  void quantize(Fp8TensorKind kind, Tensor operand, Fp8Tensor kept, Tensor x, int[] rowStarts) {
    kernels.quantize(operand, kept, x, rowStarts, scaling(kind), counter(kind));
  }

  /**
   * The operand of x.
   *
   * @param x (R, N)
   * @param rowStarts groups of rows that share no scale, null = one group
   */
  Tensor operand(Fp8TensorKind kind, Tensor x, int[] rowStarts, Allocator allocator) {
    Tensor operand = allocator.allocate(kernels.operandType(), x.shape());
    quantize(kind, operand, null, x, rowStarts);
    return operand;
  }

  /** The operand of x (R, N), followed by rows of zeros as {@link PaddedOperand} says. */
  Tensor paddedOperand(Fp8TensorKind kind, Tensor x, Scope scope) {
    PaddedOperand operand = PaddedOperand.allocate(kernels, x.rows(), x.cols(), scope);
    quantize(kind, operand.rows(), null, x, null);
    return operand.all();
  }

  /** The operand of what is kept, rounded once more by the scaling of {@code kind}. */
  Tensor operand(Fp8TensorKind kind, Fp8Tensor x, int[] rowStarts, Allocator allocator) {
    Tensor operand = allocator.allocate(kernels.operandType(), x.codes().shape());
    kernels.requantize(operand, x, rowStarts, scaling(kind), counter(kind));
    return operand;
  }
}
