package io.sparkmoe.kernel;

import io.sparkmoe.kernel.Bench.Products;
import io.sparkmoe.tensor.Arena;
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
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What do BF16 inputs gain over F32 ones, by library and shape, on one thread? Shapes are m x n x k
 * of {@code x w^T}, and of {@code dw += dy^T x} where they begin with "dw", k being tokens. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=GemmBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 2, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class GemmBenchmark {

  @Param({
    "1024x1024x1024", "128x256x256", "16x256x256", "dw256x256x37", "dw256x256x128", "dw256x256x512"
  })
  public String shape;

  @Param({"onednn", "openblas"})
  public String library;

  @Param({"F32", "BF16"})
  public DType inputs;

  private Gemm gemm;
  private Arena arena;
  private Tensor a;
  private Tensor b;
  private Tensor c;
  private boolean gradient;
  private int m;
  private int n;
  private int k;

  /** Opens the library and fills the operands with ones. */
  @Setup(Level.Trial)
  public void open() {
    gradient = shape.startsWith("dw");
    String[] sizes = shape.replace("dw", "").split("x");
    m = Integer.parseInt(sizes[0]);
    n = Integer.parseInt(sizes[1]);
    k = Integer.parseInt(sizes[2]);
    gemm = GemmBackends.open(library, inputs).gemm();
    arena = new Arena("bench", 1L << 28);
    a = ones(inputs, m * k);
    b = ones(inputs, n * k);
    c = ones(DType.F32, m * n);
    multiply();
    double expected = gradient ? k + 1 : k;
    if (c.get(0) != expected || c.get(m * n - 1) != expected) {
      throw new IllegalStateException("expected " + expected + ", got " + c.get(0));
    }
  }

  private Tensor ones(DType type, int size) {
    Tensor tensor = arena.allocate(type, size);
    for (int i = 0; i < size; i++) {
      tensor.set(i, 1);
    }
    return tensor;
  }

  private void multiply() {
    int lda = gradient ? m : k;
    int ldb = gradient ? n : k;
    long aAt = a.address();
    long bAt = b.address();
    long cAt = c.address();
    if (inputs == DType.BF16) {
      gemm.multiplyBfloat16(gradient, !gradient, m, n, k, aAt, lda, bAt, ldb, cAt, n, gradient);
    } else {
      gemm.multiply(gradient, !gradient, m, n, k, aAt, lda, bAt, ldb, cAt, n, gradient);
    }
  }

  /** Frees them. */
  @TearDown(Level.Trial)
  public void close() {
    a.close();
    b.close();
    c.close();
    arena.close();
    gemm.close();
  }

  @Benchmark
  public void product(Products products) {
    multiply();
    products.add((double) m * n * k);
  }
}
