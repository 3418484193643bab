package io.sparkmoe.train;

import io.sparkmoe.kernel.GemmBackends;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.layer.Fp8Layers;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.moe.Gate;
import io.sparkmoe.moe.RoundedGate;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;

/**
 * Number format of a training run ({@code train.precision}), and all that it decides. Gradients are
 * FP32 in both, and so are master weights but for one experiment.
 */
public enum Precision {
  /** Everything in FP32. */
  FP32(Wire.FP32, DType.F32) {
    @Override
    public Layers layers(Kernels kernels, Fp8Recipe recipe, Arena arena) {
      return new ExactLayers(kernels);
    }

    @Override
    public Gate gate(Gate local, Kernels kernels) {
      return local;
    }

    @Override
    public DType masterWeights(Fp8Recipe recipe) {
      return DType.F32;
    }
  },

  /** FP8 inputs of all products of linear layers, {@link Fp8Layers}. */
  FP8(Wire.BF16, DType.BF16) {
    @Override
    public Layers layers(Kernels kernels, Fp8Recipe recipe, Arena arena) {
      return new Fp8Layers(kernels, recipe, arena);
    }

    @Override
    public Gate gate(Gate local, Kernels kernels) {
      return new RoundedGate(local, kernels);
    }

    @Override
    public DType masterWeights(Fp8Recipe recipe) {
      return recipe.hasFp32Master() ? DType.F32 : DType.BF16;
    }
  };

  private final Wire gateWire;
  private final DType moments;

  Precision(Wire gateWire, DType moments) {
    this.gateWire = gateWire;
    this.moments = moments;
  }

  /**
   * Layers of this format.
   *
   * @param recipe of FP8
   * @param arena owns what the layers keep of the weights
   */
  public abstract Layers layers(Kernels kernels, Fp8Recipe recipe, Arena arena);

  /** A gate of this process, given hidden states as a distant one would see them. */
  public abstract Gate gate(Gate local, Kernels kernels);

  /** What the optimizer's weights are rounded to after a step; they are stored as FP32 anyway. */
  public abstract DType masterWeights(Fp8Recipe recipe);

  /**
   * What the products of linear layers read: what a matrix library is chosen for.
   *
   * @param gemmBackend its name, or how it is chosen
   */
  public DType productInputs(String gemmBackend) {
    return this == FP8 ? GemmBackends.operandType(gemmBackend) : DType.F32;
  }

  /** Format of hidden states on their way to the driver's gates. */
  public Wire gateWire() {
    return gateWire;
  }

  /**
   * Bytes that layers keep beside every element of a weight.
   *
   * @param gemmBackend name of the matrix library, or how it is chosen
   */
  public int operandBytes(String gemmBackend) {
    return this == FP8 ? productInputs(gemmBackend).sizeBytes() : 0;
  }

  /** Type of AdamW's moments. */
  public DType moments() {
    return moments;
  }
}
