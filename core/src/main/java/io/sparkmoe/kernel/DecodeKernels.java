package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * Operations of a model that writes text: products with few rows, attention over cached latents,
 * and the choice of a token. Beside {@link Kernels}, which inference uses for the rest. Two
 * implementations: {@link ReferenceDecodeKernels}, plain loops in double that define the result,
 * and {@link VectorDecodeKernels}, the fast twin for F32.
 *
 * <p>Row m of a product has the same bits whatever rows stand beside it, and a sum over channels
 * runs in ascending order. Row m of attention has the same bits whatever other sequences stand
 * beside it, and whichever of its own sequence's rows outside its block of {@link #BLOCK_POSITIONS}
 * do. So the results of a sequence that passes cut at multiples of that do not depend on its batch.
 *
 * <p>Legend: M rows (new tokens of all sequences), E matrices, O outputs, I inputs, H heads, N
 * query channels of a head without position, R with rotary position, L width of a latent, X and Y
 * channels of a head as stored, C vocabulary. Order of parameters as in {@link Kernels}. Kernels
 * allocate no tensors.
 */
public interface DecodeKernels {

  /** Positions of a sequence whose queries attention may compute together, from a multiple on. */
  int BLOCK_POSITIONS = 64;

  /**
   * Lays w (O, I) out as matrix number {@code matrix} of {@code panels}, rounded to nearest even
   * where they are narrower.
   *
   * @param panels of any type but FP8
   */
  void pack(PanelMatrix panels, int matrix, Tensor w);

  /**
   * Lays w (O, I) out as matrix number {@code matrix} of {@code panels}.
   *
   * @param panels FP8
   * @param w rounded by {@link Kernels#quantize} in blocks of 128 x 128
   */
  void pack(PanelMatrix panels, int matrix, Fp8Tensor w);

  /**
   * {@code y = x w^T}, or {@code y += x w^T} with {@code accumulate}: y (M, O), x (M, I), w one
   * matrix (O, I).
   */
  void linear(Tensor y, Tensor x, PanelMatrix w, boolean accumulate);

  /**
   * One product per matrix over its rows: {@code y[r] = x[index[r]] w[e]^T} for r in [rowStarts[e],
   * rowStarts[e+1]). Matrices without rows are not read.
   *
   * @param y (rows, O) written
   * @param x (M, I)
   * @param index I32 (rows), row of x for each row of y; null = the same
   * @param w E matrices (O, I)
   * @param rowStarts E + 1 ascending row numbers
   */
  void grouped(Tensor y, Tensor x, Tensor index, PanelMatrix w, int[] rowStarts);

  /**
   * One product per head: the first O channels of {@code y[m, h]} become {@code w[h]} times the
   * first I channels of {@code x[m, h]}; the other channels of y stay.
   *
   * @param y (M, H, Y)
   * @param x (M, H, X)
   * @param w H matrices (O, I), O <= Y, I <= X
   */
  void perHead(Tensor y, Tensor x, PanelMatrix w);

  /**
   * Rotary position of query heads: the last R channels of {@code y[m, h]} become those of {@code
   * x[m, h]}, rotated by row m of the angles as {@link Kernels#assembleQuery} does; the other
   * channels of y stay.
   *
   * @param y (M, H, Y)
   * @param x (M, H, X)
   * @param cos (M, R/2), row m = position of row m
   * @param sin (M, R/2)
   */
  void rotateTail(Tensor y, Tensor x, Tensor cos, Tensor sin);

  /**
   * What the cache keeps of a token: {@code y = [rmsNorm(latent) | rotated key]}.
   *
   * @param y (M, L+R) written
   * @param x (M, L+R), [latent | key] as projected
   * @param weight (L), of the norm
   * @param cos (M, R/2)
   * @param sin (M, R/2)
   */
  void latentEntries(Tensor y, Tensor x, Tensor weight, double eps, Tensor cos, Tensor sin);

  /**
   * Causal attention over cached latents in absorbed form (DeepSeek-V2, section 2.1.2): {@code
   * context = softmax(scale query entry^T) latent}, the latent being the first L channels of an
   * entry.
   *
   * @param context (M, H, L) written
   * @param query (M, H, L+R)
   * @param views what each sequence sees, in the order of the rows of query
   */
  void latentAttention(Tensor context, Tensor query, CachedRows[] views, double scale);

  /**
   * Index of the largest of the first {@code count} elements of a row of x (M, C), the lowest one
   * among equals.
   */
  int argMax(Tensor x, int row, int count);

  /**
   * {@code y = softmax(x / temperature)} of the first elements of one row.
   *
   * @param y as many values as are looked at, at most C, written
   * @param x (M, C)
   */
  void softmax(float[] y, Tensor x, int row, double temperature);

  /** {@code log(sum(exp(x)))} of a row of x (M, C). */
  double logSumExp(Tensor x, int row);

  /**
   * A sequence's cache as attention sees it: the last {@code rows} of its {@code length} entries
   * belong to the rows of the query, each of which sees the entries up to its own.
   *
   * @param entries (capacity, L+R), of which the first {@code length} are filled
   */
  record CachedRows(Tensor entries, int length, int rows) {}
}
