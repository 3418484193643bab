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
 * How close do the products of the experts come to the matrix library's peak, forward and backward? 32,768 rows fall to the experts by chance; the reference takes 1/64 of them. Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=GroupedMatmulBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class GroupedMatmulBenchmark {

  private static final int ROWS = 32_768;
  private static final int REFERENCE_ROWS = ROWS / 64;
  private static final int D = 256;
  private static final int F = 256;

  /** E: with 1024 an expert has 32 rows. */
  @Param({"64", "256", "1024"})
  public int experts;

  private int[] rowStarts;
  private int[] fewStarts;
  private Tensor x;
  private Tensor y;
  private Tensor w;
  private Tensor dw;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    rowStarts = bench.rowStarts(experts, ROWS);
    fewStarts = bench.rowStarts(experts, REFERENCE_ROWS);
    x = bench.random(ROWS, D);
    y = bench.random(ROWS, F);
    w = bench.random(experts, F, D);
    dw = bench.random(experts, F, D);
    Tensor few = x.view(0, REFERENCE_ROWS, D);
    Tensor expected = bench.random(REFERENCE_ROWS, F);
    bench.reference.groupedMatmul(expected, few, w, true, fewStarts, false);
    Tensor actual = bench.random(REFERENCE_ROWS, F);
    bench.fast.groupedMatmul(actual, few, w, true, fewStarts, false);
    Bench.requireEqual("groupedMatmul", expected, actual, 1e-5);
  }

  private void run(Kernels kernels, Tensor x, Tensor y, int[] starts, Products products) {
    kernels.groupedMatmul(y, x, w, true, starts, false);
    kernels.groupedWeightGradient(dw, y, x, starts, true);
    kernels.groupedMatmul(x, y, w, false, starts, false);
    products.add(3.0 * x.rows() * D * F);
  }

  @Benchmark
  public void fast(Bench bench, Products products) {
    run(bench.fast, x, y, rowStarts, products);
  }

  @Benchmark
  public void reference(Bench bench, Products products) {
    run(
        bench.reference,
        x.view(0, REFERENCE_ROWS, D),
        y.view(0, REFERENCE_ROWS, F),
        fewStarts,
        products);
  }

  @Benchmark
  public void limit(Bench bench, Products products) {
    bench.gemmPeak(products);
  }
}
