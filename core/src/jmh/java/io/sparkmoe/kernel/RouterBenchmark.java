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
 * What does the choice of experts cost beside reading the scores once? Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=RouterBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class RouterBenchmark {

  private static final int T = 4096;
  private static final int K = 8;
  private static final int S = 256;

  /** E. */
  @Param({"64", "256", "1024"})
  public int experts;

  private Tensor scores;
  private Tensor bias;
  private Tensor ids;
  private Tensor valid;
  private Tensor frequency;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    scores = bench.positive(T, experts);
    bias = bench.positive(experts);
    ids = bench.constant(-1, T, K);
    valid = bench.constant(S, T / S);
    frequency = bench.positive(T / S, experts);
    bench.reference.selectExperts(ids, scores, bias, 8, 4);
    int[] expected = ids.toIntArray();
    bench.fast.selectExperts(ids, scores, bias, 8, 4);
    for (int i = 0; i < expected.length; i++) {
      if (ids.getInt(i) != expected[i]) {
        throw new AssertionError(
            "selectExperts " + i + ": expected " + expected[i] + ", got " + ids.getInt(i));
      }
    }
  }

  @Benchmark
  public void fastChoice(Bench bench, Traffic traffic) {
    bench.fast.selectExperts(ids, scores, bias, 8, 4);
    traffic.addFloats(scores.size());
  }

  @Benchmark
  public void referenceChoice(Bench bench, Traffic traffic) {
    bench.reference.selectExperts(ids, scores, bias, 8, 4);
    traffic.addFloats(scores.size());
  }

  @Benchmark
  public double fastBalanceLoss(Bench bench, Traffic traffic) {
    traffic.addFloats(scores.size());
    return bench.fast.balanceLoss(frequency, scores, valid, K);
  }

  @Benchmark
  public double referenceBalanceLoss(Bench bench, Traffic traffic) {
    traffic.addFloats(scores.size());
    return bench.reference.balanceLoss(frequency, scores, valid, K);
  }

  @Benchmark
  public void limit(Bench bench, Traffic traffic) {
    bench.copy(traffic);
  }
}
