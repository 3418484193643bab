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
 * Do the element-wise kernels run at the speed of memory? Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=ElementwiseBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class ElementwiseBenchmark {

  private static final int ROWS = 32_768;

  /** Columns of a row; odd ones leave tails. */
  @Param({"128", "207"})
  public int columns;

  private Tensor gateUp;

  /** Not in place as in training: its own gradient as input would fade to denormal numbers. */
  private Tensor dGateUp;

  private Tensor hidden;
  private Tensor dHidden;
  private Tensor normed;
  private Tensor inverseRms;
  private Tensor weight;
  private Tensor dWeight;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    gateUp = bench.random(ROWS, 2 * columns);
    dGateUp = bench.random(ROWS, 2 * columns);
    hidden = bench.random(ROWS, columns);
    dHidden = bench.random(ROWS, columns);
    normed = bench.random(ROWS, columns);
    inverseRms = bench.random(ROWS);
    weight = bench.random(columns);
    dWeight = bench.random(columns);
    bench.reference.swiGlu(hidden, gateUp, null);
    Tensor expected = bench.random(ROWS, columns);
    expected.copyFrom(hidden);
    bench.fast.swiGlu(hidden, gateUp, null);
    Bench.requireEqual("swiGlu", expected, hidden, 1e-5);
  }

  private void swiGlu(Kernels kernels, Traffic traffic) {
    kernels.swiGlu(hidden, gateUp, null);
    traffic.addFloats(3.0 * hidden.size());
  }

  private void swiGluBackward(Kernels kernels, Traffic traffic) {
    kernels.swiGluBackward(dGateUp, null, hidden, dHidden, gateUp, null);
    traffic.addFloats(6.0 * hidden.size());
  }

  private void rmsNorm(Kernels kernels, Traffic traffic) {
    kernels.rmsNorm(normed, inverseRms, hidden, weight, 1e-6);
    kernels.rmsNormBackward(dHidden, dWeight, normed, hidden, inverseRms, weight);
    traffic.addFloats(6.0 * hidden.size());
  }

  @Benchmark
  public void fastSwiGlu(Bench bench, Traffic traffic) {
    swiGlu(bench.fast, traffic);
  }

  @Benchmark
  public void referenceSwiGlu(Bench bench, Traffic traffic) {
    swiGlu(bench.reference, traffic);
  }

  @Benchmark
  public void fastSwiGluBackward(Bench bench, Traffic traffic) {
    swiGluBackward(bench.fast, traffic);
  }

  @Benchmark
  public void referenceSwiGluBackward(Bench bench, Traffic traffic) {
    swiGluBackward(bench.reference, traffic);
  }

  @Benchmark
  public void fastRmsNorm(Bench bench, Traffic traffic) {
    rmsNorm(bench.fast, traffic);
  }

  @Benchmark
  public void referenceRmsNorm(Bench bench, Traffic traffic) {
    rmsNorm(bench.reference, traffic);
  }

  @Benchmark
  public void limit(Bench bench, Traffic traffic) {
    bench.copy(traffic);
  }
}
