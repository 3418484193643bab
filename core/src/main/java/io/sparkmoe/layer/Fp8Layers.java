package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Statistics;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Layers after DeepSeek-V3's FP8 recipe [1, section 3.3]. All three products of a layer (forward,
 * input gradient, weight gradient) read FP8 values and sum in FP32; master weights and gradients
 * are FP32. What the backward needs of an input is kept as codes and scales.
 *
 * <p>Scales are powers of two, so an FP8 value is exactly a BF16 number and a product of two exact
 * in FP32: one product of BF16 values over the whole inner size gives what [1] gets by scaling
 * partial sums of every 128 elements, up to the order of summation. The head and the attention core
 * read BF16 values; embedding, gate and norms stay as they are.
 *
 * <p>Legend: T tokens, I input width, O output width, F width, e local experts, D model width.
 *
 * <p>[1] DeepSeek-V3 technical report.
 */
public final class Fp8Layers implements Layers {

  private final Fp8Quantizer quantizer;
  private final Scope operands;
  private final List<Fp8Weight> weights = new ArrayList<>();
  private final List<Bf16Head> heads = new ArrayList<>();
  private final List<Fp8GatedNetwork> networks = new ArrayList<>();

  /**
   * @param recipe what is rounded how
   * @param arena owns the weights' operands until {@link #close}
   */
  public Fp8Layers(Kernels kernels, Fp8Recipe recipe, Arena arena) {
    this.quantizer = new Fp8Quantizer(kernels, recipe);
    this.operands = arena.scope();
  }

  @Override
  public void countRounding(boolean on) {
    quantizer.count(on);
  }

  @Override
  public Map<Fp8TensorKind, Fp8Statistics> rounding() {
    return quantizer.statistics();
  }

  @Override
  public Kernels kernels() {
    return quantizer.kernels();
  }

  @Override
  public Projection projection(Weight weight) {
    return new Fp8Projection(quantizer, weight(weight, 1));
  }

  @Override
  public Projection head(Weight weight) {
    Bf16Head head = new Bf16Head(kernels(), weight, operands);
    heads.add(head);
    return head;
  }

  @Override
  public FeedForward feedForward(Weight gateUp, Weight down) {
    return new Fp8FeedForward(quantizer, network(oneOf(gateUp), oneOf(down)));
  }

  @Override
  public Experts experts(Weight gateUp, Weight down) {
    return new Fp8Experts(quantizer, network(gateUp, down));
  }

  private static Weight oneOf(Weight matrix) {
    int rows = matrix.value().dim(0);
    int columns = matrix.value().dim(1);
    Tensor gradient = matrix.gradient();
    return new Weight(
        matrix.value().reshape(1, rows, columns),
        gradient == null ? null : gradient.reshape(1, rows, columns));
  }

  /**
   * @param gateUp (e, 2F, D)
   * @param down (e, D, F)
   */
  private Fp8GatedNetwork network(Weight gateUp, Weight down) {
    // gate_proj and up_proj are two matrices: no block holds values of both.
    Fp8GatedNetwork network = new Fp8GatedNetwork(quantizer, weight(gateUp, 2), weight(down, 1));
    networks.add(network);
    return network;
  }

  private Fp8Weight weight(Weight weight, int parts) {
    Fp8Weight made = new Fp8Weight(quantizer, weight, parts, operands);
    weights.add(made);
    return made;
  }

  /** The backward reads codes and scales, so the input itself is not kept. */
  @Override
  public Allocator inputAllocator(Scope saved, Scope scratch) {
    return scratch;
  }

  @Override
  public ProjectionInput input(Tensor x, Scope saved, Scope scratch) {
    Fp8Tensor kept = quantizer.allocate(Fp8TensorKind.INPUT, saved, x.shape());
    Tensor operand = scratch.allocate(kernels().operandType(), x.shape());
    quantizer.quantize(Fp8TensorKind.INPUT, operand, kept, x, null);
    return new Fp8Input(quantizer, kept, operand);
  }

  /** A projection's few operations cost less than the memory of its product [1, section 3.2.3]. */
  @Override
  public boolean keepsProducts() {
    return false;
  }

  /** To BF16, which the attention core computes with beside FP8 layers. */
  @Override
  public void roundForCore(Tensor x) {
    kernels().toBfloat16(x, x);
  }

  /** In BF16, as {@link #roundForCore}. */
  @Override
  public Kept keep(Tensor x, Scope saved) {
    Tensor kept = saved.allocate(DType.BF16, x.shape());
    kernels().toBfloat16(kept, x);
    kernels().fromBfloat16(x, kept);
    return scratch -> {
      Tensor restored = scratch.allocate(DType.F32, kept.shape());
      kernels().fromBfloat16(restored, kept);
      return restored;
    };
  }

  @Override
  public Tensor headGradient(Tensor logits, Scope scope) {
    return scope.allocate(kernels().operandType(), logits.shape());
  }

  @Override
  public ProjectionInput headInput(Tensor x, Scope scope) {
    Tensor rounded = scope.allocate(kernels().operandType(), x.shape());
    kernels().toBfloat16(rounded, x);
    return new Bf16Head.Input(rounded);
  }

  @Override
  public void optimized() {
    weights.forEach(Fp8Weight::changed);
    heads.forEach(Bf16Head::changed);
    networks.forEach(Fp8GatedNetwork::gradientsAreStale);
  }

  @Override
  public void close() {
    operands.close();
  }
}
