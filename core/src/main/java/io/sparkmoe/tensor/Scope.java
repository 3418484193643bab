package io.sparkmoe.tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * Tensors that end together: closing the scope gives every one of them back to its arena. A step's
 * activations live in one scope, so the next step finds the same memory already mapped. Not for use
 * by several threads at once.
 */
public final class Scope implements Allocator, AutoCloseable {

  private final Arena arena;
  private final List<Tensor> tensors = new ArrayList<>();

  Scope(Arena arena) {
    this.arena = arena;
  }

  @Override
  public Tensor allocate(DType type, int... shape) {
    Tensor tensor = arena.allocate(type, shape);
    tensors.add(tensor);
    return tensor;
  }

  /** A scope that ends earlier than this one, for a layer's scratch. */
  public Scope inner() {
    return arena.scope();
  }

  @Override
  public void close() {
    for (Tensor tensor : tensors) {
      tensor.close();
    }
    tensors.clear();
  }
}
