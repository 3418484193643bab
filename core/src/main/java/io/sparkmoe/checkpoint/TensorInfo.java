package io.sparkmoe.checkpoint;

import java.util.List;

/**
 * Where one tensor lies in a safetensors file.
 *
 * @param name unique in the file
 * @param type of its elements
 * @param shape sizes, outermost first; empty for a scalar
 * @param offsetBytes of its first byte, from the end of the header
 * @param sizeBytes product of shape and element size
 */
public record TensorInfo(
    String name, SafetensorsType type, List<Integer> shape, long offsetBytes, long sizeBytes) {

  public TensorInfo {
    shape = List.copyOf(shape);
  }

  /** The shape as tensors take it. */
  public int[] dims() {
    return shape.stream().mapToInt(Integer::intValue).toArray();
  }

  /** Number of elements. */
  public long numElements() {
    return sizeBytes / type.sizeBytes();
  }

  long endBytes() {
    return offsetBytes + sizeBytes;
  }
}
