package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Tensor;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What does one element cost to round to FP8 and to read back, on one thread, in nanoseconds? 1 MiB
 * of values, as an expert's rows are. Before measuring, the twins are compared, and a difference
 * stops the run. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=Fp8Benchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@OperationsPerInvocation(Fp8Benchmark.T * Fp8Benchmark.N)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class Fp8Benchmark {

  static final int T = 1024;
  static final int N = 256;

  private static final Fp8Scaling ROWS =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);
  private static final Fp8Scaling COLUMNS =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_128X1);
  private static final Fp8Scaling BLOCKS =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.BLOCK_128X128);

  /** Which twin. */
  @Param({"fast", "reference"})
  public String twin;

  private ComputeEngine engine;
  private Arena arena;
  private io.sparkmoe.tensor.Scope scope;
  private Kernels kernels;
  private Tensor x;
  private Tensor operand;
  private Tensor other;
  private Tensor back;
  private Fp8Tensor kept;

  /** Fills the tensors and compares the twins. */
  @Setup(Level.Trial)
  public void open() {
    engine = ComputeEngine.open("bench", "reference", 1);
    arena = new Arena("bench", 1L << 30);
    scope = arena.scope();
    x = scope.allocate(DType.F32, T, N);
    Random random = new Random(1);
    for (int i = 0; i < x.size(); i++) {
      x.setFloat(i, (float) random.nextGaussian());
    }
    operand = scope.allocate(DType.BF16, T, N);
    other = scope.allocate(DType.BF16, T, N);
    back = scope.allocate(DType.F32, T, N);
    kept = Fp8Tensor.allocate(scope, Fp8Format.E4M3, T, N);
    engine.kernels().quantize(operand, kept, x, null, ROWS, null);
    new ReferenceKernels().quantize(other, null, x, null, ROWS, null);
    if (!operand.bytes().equals(other.bytes())) {
      throw new IllegalStateException("the twins round to other bits");
    }
    kernels = twin.equals("fast") ? engine.kernels() : new ReferenceKernels();
  }

  /** Frees them. */
  @TearDown(Level.Trial)
  public void close() {
    scope.close();
    arena.close();
    engine.close();
  }

  @Benchmark
  public void rowTilesToOperand() {
    kernels.quantize(other, null, x, null, ROWS, null);
  }

  @Benchmark
  public void rowTilesToCodes() {
    kernels.quantize(null, kept, x, null, ROWS, null);
  }

  @Benchmark
  public void rowTilesToBoth() {
    kernels.quantize(other, kept, x, null, ROWS, null);
  }

  @Benchmark
  public void columnTilesOfFloats() {
    kernels.quantize(other, null, x, null, COLUMNS, null);
  }

  @Benchmark
  public void columnTilesOfOperand() {
    kernels.quantize(other, null, operand, null, COLUMNS, null);
  }

  @Benchmark
  public void columnTilesOfCodes() {
    kernels.requantize(other, kept, null, COLUMNS, null);
  }

  @Benchmark
  public void weightBlocks() {
    kernels.quantize(other, null, x, null, BLOCKS, null);
  }

  @Benchmark
  public void codesToBfloat16() {
    kernels.dequantize(other, kept);
  }

  @Benchmark
  public void codesToFloats() {
    kernels.dequantize(back, kept);
  }
}
