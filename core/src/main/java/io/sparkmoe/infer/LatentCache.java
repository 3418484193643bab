package io.sparkmoe.infer;

import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;

/**
 * What a sequence keeps of the tokens that it has seen: for every layer and token the compressed
 * key/value vector after its norm and the rotated shared key, nothing by head (DeepSeek-V2, section
 * 2.1.2). The main model and each MTP module have a length of their own, which {@link #truncate}
 * takes back when drafted tokens are refused.
 *
 * <p>Legend: L width of the latent, R rotary channels.
 */
public final class LatentCache implements AutoCloseable {

  private final int capacity;
  private final Allocator allocator;
  private final int width;
  private final int numHiddenLayers;

  /** By decoder layer, MTP layers last, (reserved, L+R). */
  private final Tensor[] entries;

  /** Filled entries by depth, 0 = main model. */
  private final int[] lengths;

  /** Tokens that there is memory for. */
  private int reserved;

  /**
   * @param capacity tokens that fit
   * @param reserved tokens that memory is taken for at once; for more it is taken as they come
   * @param allocator owns the memory until {@link #close}
   */
  public LatentCache(ModelConfig model, int capacity, int reserved, Allocator allocator) {
    if (capacity < 1) {
      throw new IllegalArgumentException("a cache must hold at least 1 token, got " + capacity);
    }
    this.capacity = capacity;
    this.reserved = Math.max(1, Math.min(reserved, capacity));
    this.allocator = allocator;
    this.width = model.kvLoraRank() + model.qkRopeHeadDim();
    this.numHiddenLayers = model.numHiddenLayers();
    this.entries = new Tensor[model.numLayers()];
    this.lengths = new int[1 + model.numMtpModules()];
    try {
      for (int layer = 0; layer < entries.length; layer++) {
        entries[layer] = allocator.allocate(DType.F32, this.reserved, width);
      }
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  /** Bytes that an arena gives for a cache of so many tokens. */
  public static long sizeBytes(ModelConfig model, int tokens) {
    long width = model.kvLoraRank() + model.qkRopeHeadDim();
    return model.numLayers() * Arena.sizeClass(tokens * width * Float.BYTES);
  }

  /** Tokens that fit. */
  public int capacity() {
    return capacity;
  }

  /** Tokens of the main model. */
  public int length() {
    return lengths[0];
  }

  /**
   * Positions of an MTP module.
   *
   * @param depth from 1; 0 = the main model
   */
  public int length(int depth) {
    return lengths[depth];
  }

  /** Bytes of all entries, used or not: layers x (L+R) x element size x reserved tokens. */
  public long sizeBytes() {
    long bytes = 0;
    for (Tensor tensor : entries) {
      bytes += tensor.sizeBytes();
    }
    return bytes;
  }

  /** Forgets every token of the main model and of the MTP modules from {@code length} on. */
  public void truncate(int length) {
    for (int depth = 0; depth < lengths.length; depth++) {
      truncate(depth, Math.min(length, lengths[depth]));
    }
  }

  /** Forgets positions of one depth from {@code length} on. */
  public void truncate(int depth, int length) {
    if (length < 0 || length > lengths[depth]) {
      throw new IllegalArgumentException(
          "a cache of " + lengths[depth] + " tokens cannot be cut to " + length);
    }
    lengths[depth] = length;
  }

  /**
   * Refuses more tokens of a depth than there is room for.
   *
   * @throws IllegalArgumentException with the numbers
   */
  void requireRoom(int depth, int tokens) {
    if (tokens > capacity - lengths[depth]) {
      throw new IllegalArgumentException(
          "context is full: got "
              + tokens
              + " more tokens after "
              + lengths[depth]
              + ", expected at most "
              + capacity
              + " together; shorten the prompt or start anew");
    }
  }

  /** Counts tokens of a depth that are about to be stored; returns the position of the first. */
  int grow(int depth, int tokens) {
    int first = lengths[depth];
    reserve(first + tokens);
    lengths[depth] = first + tokens;
    return first;
  }

  /** At least doubles the memory, so that a long text is copied as often as its length has bits. */
  private void reserve(int tokens) {
    if (tokens <= reserved) {
      return;
    }
    int more = (int) Math.min(capacity, Math.max(tokens, 2L * reserved));
    for (int layer = 0; layer < entries.length; layer++) {
      Tensor larger = allocator.allocate(DType.F32, more, width);
      larger.bytes().put(0, entries[layer].bytes(), 0, reserved * width * Float.BYTES);
      entries[layer].close();
      entries[layer] = larger;
    }
    reserved = more;
  }

  /** Copies rows of {@code source} (M, L+R) to the entries from a position on. */
  void store(int layer, int position, Tensor source, int row, int rows) {
    entries[layer]
        .bytes()
        .put(
            position * width * Float.BYTES,
            source.bytes(),
            row * width * Float.BYTES,
            rows * width * Float.BYTES);
  }

  /** A layer as attention sees it, the last {@code rows} entries being new. */
  CachedRows view(int layer, int rows) {
    int depth = Math.max(0, layer - numHiddenLayers + 1);
    return new CachedRows(entries[layer], lengths[depth], rows);
  }

  @Override
  public void close() {
    for (Tensor tensor : entries) {
      if (tensor != null) {
        tensor.close();
      }
    }
  }
}
