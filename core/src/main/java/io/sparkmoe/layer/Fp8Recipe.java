package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Granularity;
import io.sparkmoe.kernel.Fp8Scaling;
import io.sparkmoe.tensor.Fp8Format;

/**
 * What FP8 training rounds how. {@link #DEEPSEEK} is the recipe of [1]; each of the others changes
 * one of its choices, to show by experiment what that choice is worth.
 *
 * <p>[1] DeepSeek-V3 technical report, section 3.3 and appendix B.
 */
public enum Fp8Recipe {
  /**
   * E4M3 throughout; activations and their gradients in 1x128 tiles, 128x1 for the weight gradient,
   * weights in 128x128 blocks; FP32 master weights.
   */
  DEEPSEEK(Fp8Format.E4M3, Grain.TILES, true),
  /** One scale for a whole tensor, or for all rows of an expert. */
  PER_TENSOR(Fp8Format.E4M3, Grain.TENSOR, true),
  /** Gradients in E5M2, which has more range and less precision. */
  E5M2_GRADIENTS(Fp8Format.E5M2, Grain.TILES, true),
  /** Activations and their gradients in 128x128 blocks, as weights [1, appendix B.2]. */
  BLOCK_ACTIVATIONS(Fp8Format.E4M3, Grain.BLOCKS, true),
  /** Master weights are rounded to BF16 after every step. */
  BF16_MASTER(Fp8Format.E4M3, Grain.TILES, false);

  /** Granularity of activations by direction of the sum, and of weights. */
  private enum Grain {
    TILES(Fp8Granularity.TILE_1X128, Fp8Granularity.TILE_128X1, Fp8Granularity.BLOCK_128X128),
    BLOCKS(
        Fp8Granularity.BLOCK_128X128, Fp8Granularity.BLOCK_128X128, Fp8Granularity.BLOCK_128X128),
    TENSOR(Fp8Granularity.TENSOR, Fp8Granularity.TENSOR, Fp8Granularity.TENSOR);

    private final Fp8Granularity alongRows;
    private final Fp8Granularity alongColumns;
    private final Fp8Granularity weights;

    Grain(Fp8Granularity alongRows, Fp8Granularity alongColumns, Fp8Granularity weights) {
      this.alongRows = alongRows;
      this.alongColumns = alongColumns;
      this.weights = weights;
    }
  }

  private final Fp8Scaling input;
  private final Fp8Scaling inputTransposed;
  private final Fp8Scaling gradient;
  private final Fp8Scaling gradientTransposed;
  private final Fp8Scaling weight;
  private final boolean fp32Master;

  Fp8Recipe(Fp8Format gradients, Grain grain, boolean fp32Master) {
    this.input = new Fp8Scaling(Fp8Format.E4M3, grain.alongRows);
    this.inputTransposed = new Fp8Scaling(Fp8Format.E4M3, grain.alongColumns);
    this.gradient = new Fp8Scaling(gradients, grain.alongRows);
    this.gradientTransposed = new Fp8Scaling(gradients, grain.alongColumns);
    this.weight = new Fp8Scaling(Fp8Format.E4M3, grain.weights);
    this.fp32Master = fp32Master;
  }

  /** Inputs of the forward product, kept for the backward. */
  Fp8Scaling input() {
    return input;
  }

  /** The same inputs in the product of the weight gradient, which sums over tokens. */
  Fp8Scaling inputTransposed() {
    return inputTransposed;
  }

  /** Output gradients in the product of the input gradient. */
  Fp8Scaling gradient() {
    return gradient;
  }

  /** Output gradients in the product of the weight gradient. */
  Fp8Scaling gradientTransposed() {
    return gradientTransposed;
  }

  /** Weights, in either direction. */
  Fp8Scaling weight() {
    return weight;
  }

  /** Whether values are rounded as {@link #DEEPSEEK} rounds them. */
  boolean hasStandardRounding() {
    return input.equals(DEEPSEEK.input)
        && inputTransposed.equals(DEEPSEEK.inputTransposed)
        && gradient.equals(DEEPSEEK.gradient)
        && gradientTransposed.equals(DEEPSEEK.gradientTransposed);
  }

  /** Whether the optimizer keeps weights in FP32. */
  public boolean hasFp32Master() {
    return fp32Master;
  }
}
