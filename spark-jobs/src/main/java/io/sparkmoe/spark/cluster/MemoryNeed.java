package io.sparkmoe.spark.cluster;

/**
 * Memory of one rank.
 *
 * @param heapBytes Java heap: rows, frames that wait to be taken, Spark itself
 * @param offHeapBytes most that its tensors may take
 * @param residentBytes physical memory that a process with this rank is expected to hold
 */
public record MemoryNeed(long heapBytes, long offHeapBytes, long residentBytes) {

  public MemoryNeed {
    if (heapBytes < 0 || offHeapBytes < 0 || residentBytes < 0) {
      throw new IllegalArgumentException(
          "memory of a rank must be >= 0 bytes, got "
              + heapBytes
              + " of heap, "
              + offHeapBytes
              + " off-heap and "
              + residentBytes
              + " resident");
    }
  }
}
