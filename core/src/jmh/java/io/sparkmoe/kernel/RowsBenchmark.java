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
 * Do rows move at the speed of memory, to the experts and back? Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=RowsBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class RowsBenchmark {

  private static final int T = 4096;
  private static final int ROWS = 8 * T;

  /** D. */
  @Param({"128", "256"})
  public int width;

  private Tensor tokens;
  private Tensor rows;
  private Tensor token;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    tokens = bench.random(T, width);
    rows = bench.random(ROWS, width);
    token = bench.indices(T, ROWS);
    Tensor expected = bench.random(ROWS, width);
    bench.reference.gatherRows(expected, tokens, token);
    bench.fast.gatherRows(rows, tokens, token);
    Bench.requireEqual("gatherRows", expected, rows, 0);
  }

  private void gather(Kernels kernels, Traffic traffic) {
    kernels.gatherRows(rows, tokens, token);
    traffic.addFloats(rows.size() + tokens.size());
  }

  private void scatter(Kernels kernels, Traffic traffic) {
    kernels.scatterAddRows(tokens, rows, token);
    traffic.addFloats(rows.size() + 2.0 * tokens.size());
  }

  @Benchmark
  public void fastGather(Bench bench, Traffic traffic) {
    gather(bench.fast, traffic);
  }

  @Benchmark
  public void referenceGather(Bench bench, Traffic traffic) {
    gather(bench.reference, traffic);
  }

  @Benchmark
  public void fastScatter(Bench bench, Traffic traffic) {
    scatter(bench.fast, traffic);
  }

  @Benchmark
  public void referenceScatter(Bench bench, Traffic traffic) {
    scatter(bench.reference, traffic);
  }

  @Benchmark
  public void limit(Bench bench, Traffic traffic) {
    bench.copy(traffic);
  }
}
