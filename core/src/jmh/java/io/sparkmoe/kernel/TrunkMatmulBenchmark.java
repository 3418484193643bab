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
 * How close do the trunk's products come to the matrix library's peak? The reference takes 1/64 of the rows. Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=TrunkMatmulBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class TrunkMatmulBenchmark {

  private static final int T = 4096;
  private static final int REFERENCE_T = T / 64;

  /** D, F of y = x w^T: the dense FFN, a projection, the narrow bottleneck. */
  @Param({"256x2048", "256x256", "256x64"})
  public String shape;

  private Tensor x;
  private Tensor y;
  private Tensor w;
  private Tensor dw;
  private Tensor fewX;
  private Tensor fewY;
  private double multiplyAdds;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    int d = Integer.parseInt(shape.split("x")[0]);
    int f = Integer.parseInt(shape.split("x")[1]);
    x = bench.random(T, d);
    y = bench.random(T, f);
    w = bench.random(f, d);
    dw = bench.random(f, d);
    fewX = bench.random(REFERENCE_T, d);
    fewY = bench.random(REFERENCE_T, f);
    multiplyAdds = 3.0 * T * d * f;
    Tensor expected = bench.random(REFERENCE_T, f);
    bench.reference.linear(expected, fewX, w);
    bench.fast.linear(fewY, fewX, w);
    Bench.requireEqual("linear", expected, fewY, 1e-5);
  }

  /** Forward and both gradients. */
  private void run(Kernels kernels, Tensor x, Tensor y) {
    kernels.linear(y, x, w);
    kernels.matmul(dw, y, true, x, false, true);
    kernels.matmul(x, y, false, w, false, false);
  }

  @Benchmark
  public void fast(Bench bench, Products products) {
    run(bench.fast, x, y);
    products.add(multiplyAdds);
  }

  @Benchmark
  public void reference(Bench bench, Products products) {
    run(bench.reference, fewX, fewY);
    products.add(multiplyAdds * REFERENCE_T / T);
  }

  @Benchmark
  public void limit(Bench bench, Products products) {
    bench.gemmPeak(products);
  }
}
