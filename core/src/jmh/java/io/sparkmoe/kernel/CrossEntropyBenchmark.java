package io.sparkmoe.kernel;

import io.sparkmoe.kernel.Bench.Traffic;
import io.sparkmoe.tensor.DType;
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
 * What does cross-entropy with its gradient cost beside reading the logits and writing the gradient
 * once? Legend as in {@link Kernels}. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=CrossEntropyBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class CrossEntropyBenchmark {

  /** C; rows are what makes two million logits. */
  @Param({"512", "8192", "129280"})
  public int vocabulary;

  /** Whether the gradient is rounded to a BF16 operand, or replaces the logits. */
  @Param({"false", "true"})
  public boolean bfloat16;

  private Tensor logits;
  private Tensor dLogits;
  private Tensor losses;
  private Tensor targets;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    int rows = (1 << 21) / vocabulary;
    logits = bench.random(rows, vocabulary);
    dLogits = bench.unwritten(DType.BF16, rows, vocabulary);
    losses = bench.random(rows);
    targets = bench.indices(vocabulary, rows);
    bench.reference.crossEntropy(losses, logits, targets, 0);
    Tensor expected = bench.random(rows);
    expected.copyFrom(losses);
    bench.fast.crossEntropy(losses, logits, targets, 0);
    Bench.requireEqual("crossEntropy", expected, losses, 1e-5);
  }

  private void run(Kernels kernels, Traffic traffic) {
    if (bfloat16) {
      kernels.crossEntropyBfloat16(losses, dLogits, logits, targets, 1);
    } else {
      kernels.crossEntropy(losses, logits, targets, 1);
    }
    traffic.addFloats((bfloat16 ? 1.5 : 2.0) * logits.size());
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
