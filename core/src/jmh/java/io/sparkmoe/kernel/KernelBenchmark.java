package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.Random;
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
 * How much faster are the fast kernels than the reference on the hot shapes of a layer? Legend as in {@link Kernels}.
 * Before measuring, the twins' SwiGLU is compared, and a difference stops the run. Run with
 *
 * <pre>mvn -pl core -Pbench test-compile exec:exec -Dbench="KernelBenchmark.swiGlu -p twin=fast"</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class KernelBenchmark {

  private static final int E = 256;
  private static final int K = 8;
  private static final int B = 2;
  private static final int H = 4;
  private static final int S = 256;
  private static final int CHANNELS = 48;
  private static final int V = 32;

  /** Which twin. */
  @Param({"fast", "reference"})
  public String twin;

  /** Tokens; a number that leaves tails. */
  @Param("509")
  public int tokens;

  /** Model width; an expert is half as wide. */
  @Param({"128", "256"})
  public int width;

  /** Compute threads of the fast twin. */
  @Param("2")
  public int threads;

  private final Random random = new Random(1);
  private Arena arena;
  private io.sparkmoe.tensor.Scope tensors;
  private ComputeEngine engine;
  private Kernels kernels;
  private int[] rowStarts;
  private Tensor input;
  private Tensor gateUp;
  private Tensor gateUpWeight;
  private Tensor gateUpGradient;
  private Tensor hidden;
  private Tensor scores;
  private Tensor bias;
  private Tensor ids;
  private Tensor tokenOfRow;
  private Tensor weightOfRow;
  private Tensor combined;
  private Tensor normWeight;
  private Tensor normed;
  private Tensor inverseRms;
  private Tensor query;
  private Tensor key;
  private Tensor value;
  private Tensor attended;
  private Tensor logSumExp;

  /** Makes the tensors and checks the twins against each other. */
  @Setup(Level.Trial)
  public void open() {
    arena = new Arena("bench", 4L << 30);
    tensors = arena.scope();
    engine = ComputeEngine.open("bench", "auto", threads);
    int rows = tokens * K;
    int f = width / 2;
    rowStarts = new int[E + 1];
    for (int e = 0; e <= E; e++) {
      rowStarts[e] = (int) ((long) rows * e / E);
    }
    input = random(rows, width);
    gateUp = random(rows, 2 * f);
    gateUpWeight = random(E, 2 * f, width);
    gateUpGradient = random(E, 2 * f, width);
    hidden = random(rows, f);
    scores = random(tokens, E);
    bias = random(E);
    ids = tensors.allocate(DType.I32, tokens, K);
    tokenOfRow = tensors.allocate(DType.I32, rows);
    for (int i = 0; i < rows; i++) {
      tokenOfRow.setInt(i, random.nextInt(tokens));
    }
    weightOfRow = random(rows);
    combined = random(tokens, width);
    normWeight = random(width);
    normed = random(rows, width);
    inverseRms = random(rows);
    query = random(B, H, S, CHANNELS);
    key = random(B, H, S, CHANNELS);
    value = random(B, H, S, V);
    attended = random(B * S, H * V);
    logSumExp = random(B, H, S);
    kernels = new ReferenceKernels();
    swiGlu();
    float[] expected = hidden.toFloatArray();
    kernels = engine.kernels();
    swiGlu();
    for (int i = 0; i < expected.length; i++) {
      if (!(Math.abs(expected[i] - hidden.getFloat(i)) <= 1e-5f * (1 + Math.abs(expected[i])))) {
        throw new AssertionError("swiGlu " + i + ": expected " + expected[i] + ", got " + hidden.getFloat(i));
      }
    }
    kernels = twin.equals("fast") ? engine.kernels() : new ReferenceKernels();
  }

  private Tensor random(int... shape) {
    Tensor tensor = tensors.allocate(DType.F32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.setFloat(i, (float) random.nextGaussian());
    }
    return tensor;
  }

  @TearDown(Level.Trial)
  public void close() {
    engine.close();
    tensors.close();
    arena.close();
  }

  @Benchmark
  public void groupedMatmul() {
    kernels.groupedMatmul(gateUp, input, gateUpWeight, true, rowStarts, false);
  }

  @Benchmark
  public void groupedWeightGradient() {
    kernels.groupedWeightGradient(gateUpGradient, gateUp, input, rowStarts);
  }

  @Benchmark
  public void swiGlu() {
    kernels.swiGlu(hidden, gateUp);
  }

  @Benchmark
  public void rmsNorm() {
    kernels.rmsNorm(normed, inverseRms, input, normWeight, 1e-6);
  }

  @Benchmark
  public void scatterAddScaledRows() {
    kernels.scatterAddScaledRows(combined, input, tokenOfRow, weightOfRow);
  }

  @Benchmark
  public void selectExperts() {
    kernels.selectExperts(ids, scores, bias, 8, 4);
  }

  @Benchmark
  public void attention() {
    kernels.attention(attended, logSumExp, query, key, value, 0.14);
  }
}
