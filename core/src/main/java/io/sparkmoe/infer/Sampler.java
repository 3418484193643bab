package io.sparkmoe.infer;

import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Chooses the next token from logits. Random numbers come from the seed and the position in the
 * text alone, so a choice depends on nothing else. Not for use by several threads at once.
 *
 * <p>Legend: C vocabulary of the model, N tokens that may be chosen, at most C: a vocabulary may be
 * padded with ids that its tokenizer does not know.
 */
public final class Sampler {

  private final DecodeKernels kernels;
  private final float[] probabilities;
  private final long[] heap;

  /**
   * @param numTokens N
   */
  public Sampler(DecodeKernels kernels, int numTokens) {
    this.kernels = kernels;
    this.probabilities = new float[numTokens];
    this.heap = new long[numTokens];
  }

  /** N. */
  public int numTokens() {
    return probabilities.length;
  }

  /**
   * A chosen token.
   *
   * @param logProbability of the full softmax at temperature 1, in nats
   */
  public record Choice(int token, float logProbability) {}

  /**
   * Chooses from one row of logits (M, C).
   *
   * @param position number of the chosen token within the generated text, from 0
   */
  public Choice choose(Tensor logits, int row, SamplingOptions options, int position) {
    int token;
    if (options.isGreedy()) {
      token = likeliest(logits, row);
    } else {
      distribution(probabilities, logits, row, options);
      token = pick(probabilities, uniform(options.seed(), position, 0));
    }
    return new Choice(token, logProbability(logits, row, token));
  }

  /** The likeliest token of a row of logits (M, C). */
  public int likeliest(Tensor logits, int row) {
    return kernels.argMax(logits, row, numTokens());
  }

  /**
   * Log-probability of a token in the full softmax at temperature 1.
   *
   * @throws IllegalArgumentException when the row is not finite, which damaged weights do
   */
  public float logProbability(Tensor logits, int row, int token) {
    double logSum = kernels.logSumExp(logits, row);
    requireFinite("log-sum-exp", logSum);
    return (float) (logits.get(row * logits.cols() + token) - logSum);
  }

  /**
   * Refuses what follows from logits that are not finite, which damaged weights make.
   *
   * @param name what the value is
   */
  public static void requireFinite(String name, double value) {
    if (!Double.isFinite(value)) {
      throw new IllegalArgumentException(
          "the model's logits are not numbers: got "
              + name
              + " "
              + value
              + ", expected a finite one; the weights are damaged, take another checkpoint");
    }
  }

  /**
   * The distribution that a token is drawn from: softmax at the temperature, cut by top-k, then by
   * top-p, and normalised again. With temperature 0, one at the likeliest token.
   *
   * @param into N probabilities, written
   */
  public void distribution(float[] into, Tensor logits, int row, SamplingOptions options) {
    if (options.isGreedy()) {
      Arrays.fill(into, 0);
      into[likeliest(logits, row)] = 1;
      return;
    }
    kernels.softmax(into, logits, row, options.temperature());
    boolean cut = options.topK() > 0 && options.topK() < into.length || options.topP() < 1;
    if (cut) {
      keepLikeliest(into, options);
    }
  }

  /** The token where the running sum of probabilities passes {@code uniform}, in [0, 1). */
  public static int pick(float[] probabilities, double uniform) {
    double sum = 0;
    int last = 0;
    for (int i = 0; i < probabilities.length; i++) {
      if (probabilities[i] > 0) {
        sum += probabilities[i];
        last = i;
        if (uniform < sum) {
          return i;
        }
      }
    }
    // Rounding left the sum below the number.
    return last;
  }

  /**
   * A random number in [0, 1).
   *
   * @param position in the generated text
   * @param use tells several numbers of one position apart
   */
  public static double uniform(long seed, int position, int use) {
    return new SplittableRandom(seed * 0x9E3779B97F4A7C15L + position * 0x632BE59BD9B4E019L + use)
        .nextDouble();
  }

  private void keepLikeliest(float[] p, SamplingOptions options) {
    int size = p.length;
    for (int i = 0; i < size; i++) {
      // Positive floats order as their bits do; the lower index wins among equals.
      heap[i] = (long) Float.floatToRawIntBits(p[i]) << 32 | Integer.MAX_VALUE - i;
    }
    for (int i = size / 2 - 1; i >= 0; i--) {
      sink(i, size);
    }
    boolean byCount = options.topK() > 0 && options.topK() < size;
    // Top-p counts within what top-k leaves, whose sum is known when all of it is taken out.
    int taken = byCount ? take(options.topK(), 2) : take(size, options.topP());
    double mass = 0;
    for (int i = 0; i < taken; i++) {
      mass += probability(heap[size - 1 - i]);
    }
    if (byCount) {
      double wanted = options.topP() * mass;
      mass = 0;
      int kept = 0;
      while (kept < taken && (kept == 0 || mass < wanted)) {
        mass += probability(heap[size - 1 - kept++]);
      }
      taken = kept;
    }
    Arrays.fill(p, 0);
    for (int i = 0; i < taken; i++) {
      long key = heap[size - 1 - i];
      p[Integer.MAX_VALUE - (int) key] = (float) (probability(key) / mass);
    }
  }

  /**
   * Moves the largest keys to the heap's end, the largest last, until there are {@code limit} or
   * their probabilities reach {@code wanted}; returns how many.
   */
  private int take(int limit, double wanted) {
    double mass = 0;
    int taken = 0;
    while (taken < limit && (taken == 0 || mass < wanted)) {
      long key = heap[0];
      int left = heap.length - ++taken;
      heap[0] = heap[left];
      sink(0, left);
      heap[left] = key;
      mass += probability(key);
    }
    return taken;
  }

  private static float probability(long key) {
    return Float.intBitsToFloat((int) (key >> 32));
  }

  private void sink(int from, int size) {
    long value = heap[from];
    int i = from;
    for (int child = 2 * i + 1; child < size; child = 2 * i + 1) {
      if (child + 1 < size && heap[child + 1] > heap[child]) {
        child++;
      }
      if (heap[child] <= value) {
        break;
      }
      heap[i] = heap[child];
      i = child;
    }
    if (size > 0) {
      heap[i] = value;
    }
  }
}
