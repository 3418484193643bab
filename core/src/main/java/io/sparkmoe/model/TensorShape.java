package io.sparkmoe.model;

/**
 * A tensor of a model that need not be in memory.
 *
 * @param name Hugging Face's name
 * @param part who owns it
 * @param shape sizes, outermost first
 */
public record TensorShape(String name, Part part, int[] shape) {

  /** Number of elements. */
  public long numElements() {
    long product = 1;
    for (int length : shape) {
      product = Math.multiplyExact(product, length);
    }
    return product;
  }
}
