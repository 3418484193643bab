package io.sparkmoe.kernel;

import io.sparkmoe.kernel.Bench.Products;
import io.sparkmoe.tensor.Tensor;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * How close does attention come to the matrix library's peak, and does a token's cost grow with the sequence only as its products do? Products of the lower triangle count, forward and backward; the reference takes one head of 128 tokens. Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=AttentionBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class AttentionBenchmark {

  private static final int TOKENS = 4096;
  private static final int REFERENCE_S = 128;
  private static final int H = 4;
  private static final int CHANNELS = 48;
  private static final int V = 32;

  /** Products of a pair of query and key: two forward, five backward. */
  private static final double CHANNELS_PER_PAIR = 4 * CHANNELS + 3 * V;

  /** S; B is what makes 4096 tokens. */
  @Param({"256", "1024", "4096"})
  public int length;

  private Case large;
  private Case small;

  private record Case(
      Tensor query,
      Tensor key,
      Tensor value,
      Tensor out,
      Tensor logSumExp,
      Tensor dOut,
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue) {

    static Case of(Bench bench, int b, int h, int s) {
      return new Case(
          bench.random(b, h, s, CHANNELS),
          bench.random(b, h, s, CHANNELS),
          bench.random(b, h, s, V),
          bench.random(b * s, h * V),
          bench.random(b, h, s),
          bench.random(b * s, h * V),
          bench.random(b, h, s, CHANNELS),
          bench.random(b, h, s, CHANNELS),
          bench.random(b, h, s, V));
    }

    void run(Kernels kernels, Products products) {
      kernels.attention(out, logSumExp, query, key, value, 0.14);
      kernels.attentionBackward(
          dQuery, dKey, dValue, dOut, out, logSumExp, query, key, value, 0.14);
      int s = query.dim(2);
      double pairs = (double) query.dim(0) * query.dim(1) * s * (s + 1) / 2;
      products.add(pairs * CHANNELS_PER_PAIR);
    }
  }

  @Setup(Level.Trial)
  public void open(Bench bench) {
    large = Case.of(bench, TOKENS / length, H, length);
    small = Case.of(bench, 1, 1, REFERENCE_S);
    small.run(bench.reference, new Products());
    Tensor expected = bench.random(small.dKey.shape());
    expected.copyFrom(small.dKey);
    small.run(bench.fast, new Products());
    Bench.requireEqual("attentionBackward", expected, small.dKey, 1e-4);
  }

  @Benchmark
  public void fast(Bench bench, Products products) {
    large.run(bench.fast, products);
  }

  @Benchmark
  public void reference(Bench bench, Products products) {
    small.run(bench.reference, products);
  }

  @Benchmark
  public void limit(Bench bench, Products products) {
    bench.gemmPeak(products);
  }
}
