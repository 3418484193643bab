package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Statistics;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Linear;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Layers that compute in the type of their weights, FP32 in training: nothing is rounded on the way
 * into a product.
 */
public final class ExactLayers implements Layers {

  private final Kernels kernels;
  private final List<ExactExperts> experts = new ArrayList<>();

  public ExactLayers(Kernels kernels) {
    this.kernels = kernels;
  }

  /**
   * The input itself.
   *
   * @param x (T, I)
   */
  record Input(Tensor x) implements ProjectionInput, ProjectionInput.ForGradient {

    static Tensor of(ProjectionInput input) {
      return ((Input) input).x;
    }

    @Override
    public ForGradient forGradient(Scope scratch) {
      return this;
    }

    @Override
    public ProjectionInput again(Scope scratch) {
      return this;
    }
  }

  private record ExactProjection(Linear linear) implements Projection {

    @Override
    public int inputWidth() {
      return linear.inputWidth();
    }

    @Override
    public int outputWidth() {
      return linear.outputWidth();
    }

    @Override
    public void forward(Tensor y, ProjectionInput x) {
      linear.forward(y, Input.of(x));
    }

    @Override
    public void forwardAdd(Tensor y, ProjectionInput x) {
      linear.forwardAdd(y, Input.of(x));
    }

    @Override
    public void backward(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
      linear.backward(dx, dy, ((Input) x).x);
    }

    @Override
    public void backwardAdd(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
      linear.backwardAdd(dx, dy, ((Input) x).x);
    }
  }

  @Override
  public Kernels kernels() {
    return kernels;
  }

  @Override
  public Projection projection(Weight weight) {
    return new ExactProjection(new Linear(kernels, weight));
  }

  @Override
  public Projection head(Weight weight) {
    return projection(weight);
  }

  @Override
  public FeedForward feedForward(Weight gateUp, Weight down) {
    return new ExactFeedForward(kernels, gateUp, down);
  }

  @Override
  public Experts experts(Weight gateUp, Weight down) {
    ExactExperts made = new ExactExperts(kernels, gateUp, down);
    experts.add(made);
    return made;
  }

  /** The backward reads the input itself, so it is kept. */
  @Override
  public Allocator inputAllocator(Scope saved, Scope scratch) {
    return saved;
  }

  @Override
  public ProjectionInput input(Tensor x, Scope saved, Scope scratch) {
    return new Input(x);
  }

  @Override
  public boolean keepsProducts() {
    return true;
  }

  /** The attention core computes with what it is given. */
  @Override
  public void roundForCore(Tensor x) {}

  @Override
  public Kept keep(Tensor x, Scope saved) {
    return scratch -> x;
  }

  @Override
  public Tensor headGradient(Tensor logits, Scope scope) {
    return logits;
  }

  @Override
  public ProjectionInput headInput(Tensor x, Scope scope) {
    return new Input(x);
  }

  /** Nothing is rounded. */
  @Override
  public void countRounding(boolean on) {}

  @Override
  public Map<Fp8TensorKind, Fp8Statistics> rounding() {
    return Map.of();
  }

  /** The weights themselves are read, so only the gradients matter. */
  @Override
  public void optimized() {
    experts.forEach(ExactExperts::gradientsAreStale);
  }

  @Override
  public void close() {}
}
