package io.sparkmoe.spark.cluster;

/**
 * Memory of one rank.
 *
 * @param heapBytes Java heap: rows, frames that wait to be taken, Spark itself
 * @param offHeapBytes tensors and GEMM scratch
 */
public record MemoryNeed(long heapBytes, long offHeapBytes) {

  public MemoryNeed {
    if (heapBytes < 0 || offHeapBytes < 0) {
      throw new IllegalArgumentException(
          "memory of a rank must be >= 0 bytes, got "
              + heapBytes
              + " of heap and "
              + offHeapBytes
              + " off-heap");
    }
  }
}
