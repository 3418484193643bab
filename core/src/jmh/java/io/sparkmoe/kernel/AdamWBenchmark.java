package io.sparkmoe.kernel;

import io.sparkmoe.kernel.Bench.Traffic;
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
 * Does AdamW run at the speed of memory? Weight and moments are read and written, the gradient
 * is read: an expert's, which the next backward replaces. Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=AdamWBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class AdamWBenchmark {

  private static final Kernels.AdamWStep STEP =
      new Kernels.AdamWStep(1e-4, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05, 1, false);

  /** Parameters; the smaller number is what a cache holds. */
  @Param({"65536", "33554432"})
  public int size;

  /** Moments in BF16: 20 bytes an element instead of 28. */
  @Param({"false", "true"})
  public boolean bfloat16;

  private Tensor weight;
  private Tensor first;
  private Tensor second;
  private Tensor pairs;
  private Tensor gradient;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    weight = bench.random(size);
    first = bench.random(size);
    second = bench.positive(size);
    pairs = bench.constant(0, size);
    gradient = bench.random(size);
  }

  private void run(Kernels kernels, Traffic traffic) {
    if (bfloat16) {
      kernels.adamWBfloat16(weight, pairs, gradient, STEP);
    } else {
      kernels.adamW(weight, first, second, gradient, STEP);
    }
    traffic.addFloats((bfloat16 ? 5.0 : 7.0) * size);
  }

  @Benchmark
  public void fast(Bench bench, Traffic traffic) {
    run(bench.fast, traffic);
  }

  @Benchmark
  public void reference(Bench bench, Traffic traffic) {
    run(bench.reference, traffic);
  }

  @Benchmark
  public void limit(Bench bench, Traffic traffic) {
    bench.copy(traffic);
  }
}
