package io.sparkmoe.tensor;

/**
 * Where tensors come from: an {@link Arena} (closed one by one) or a {@link Scope} (closed
 * together).
 */
public interface Allocator {

  /**
   * A tensor with undefined contents.
   *
   * @param type element type
   * @param shape sizes, outermost first; the product is the element count, zero is allowed
   * @throws OutOfArenaException when the arena's byte limit would be passed
   */
  Tensor allocate(DType type, int... shape);

  /** A tensor filled with zeros; otherwise as {@link #allocate}. */
  default Tensor zeros(DType type, int... shape) {
    Tensor tensor = allocate(type, shape);
    tensor.zero();
    return tensor;
  }
}
