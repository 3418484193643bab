package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.bytedeco.javacpp.FloatPointer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Opens matrix libraries by name and measures them. */
public final class GemmBackends {

  /** Name that takes the preferred library unless a measurement shows another clearly faster. */
  public static final String AUTO = "auto";

  private static final Logger LOG = LoggerFactory.getLogger(GemmBackends.class);

  /** In order of preference. */
  private static final Map<String, Supplier<Gemm>> BACKENDS = backends();

  /** Products (m, n, k) that stand for a trunk's and an expert's. */
  private static final List<int[]> SAMPLES =
      List.of(new int[] {512, 512, 512}, new int[] {128, 256, 256});

  private static final long SAMPLE_NANOS = 50_000_000;

  private static final int SAMPLE_RUNS = 10;

  /**
   * How much faster a library must be to displace one that stands before it: less is within the
   * noise of a busy machine, and the same command should choose the same library twice.
   */
  private static final double CLEARLY_FASTER = 1.3;

  private static final int PEAK_SIZE = 1024;

  private GemmBackends() {}

  /**
   * An open backend and what led to it.
   *
   * @param gemm the backend; the caller closes it
   * @param gflops single-thread GFLOP/s (harmonic mean over the samples' best) of each backend
   *     measured on products of the run's inputs, empty without auto
   */
  public record Choice(Gemm gemm, Map<String, Double> gflops) {}

  /**
   * {@link Gemm#operandType} of a backend before it is opened; of {@link #AUTO}, that of the
   * preferred one.
   *
   * @param name as {@link #open(String, DType)} takes it
   */
  public static DType operandType(String name) {
    if (!name.equals(AUTO) && !name.equals(OneDnnGemm.NAME)) {
      return DType.F32;
    }
    try {
      return OneDnnGemm.bestOperandType();
    } catch (LinkageError e) {
      LOG.debug("oneDNN does not load on this machine, so another library's operands are F32", e);
      return DType.F32;
    }
  }

  private static Map<String, Supplier<Gemm>> backends() {
    Map<String, Supplier<Gemm>> backends = new LinkedHashMap<>();
    backends.put(OneDnnGemm.NAME, () -> new OneDnnGemm(true));
    backends.put(OneDnnGemm.NAME_F32, () -> new OneDnnGemm(false));
    backends.put("openblas", OpenBlasGemm::new);
    backends.put("reference", ReferenceGemm::new);
    return Collections.unmodifiableMap(backends);
  }

  /**
   * Opens a backend for F32 products; otherwise as {@link #open(String, DType)}.
   *
   * @param name "onednn", "openblas", "reference" or {@link #AUTO}
   */
  public static Choice open(String name) {
    return open(name, DType.F32);
  }

  /**
   * Opens a backend. One whose native library does not load, or does not multiply such inputs here,
   * is named in a warning, and the next in order of preference takes its place.
   *
   * @param name "onednn", "onednn-f32" (widens BF16 inputs), "openblas", "reference" or {@link
   *     #AUTO}
   * @param inputs F32 or BF16, of the products that matter most: what auto measures
   */
  public static Choice open(String name, DType inputs) {
    if (name.equals(AUTO)) {
      return fastest(inputs);
    }
    if (!BACKENDS.containsKey(name)) {
      throw new IllegalArgumentException(
          "gemm backend must be one of " + BACKENDS.keySet() + " or " + AUTO + ", got " + name);
    }
    boolean reached = false;
    for (String candidate : BACKENDS.keySet()) {
      reached |= candidate.equals(name);
      Gemm gemm = reached ? openOrWarn(candidate, inputs) : null;
      if (gemm != null) {
        return new Choice(gemm, Map.of());
      }
    }
    throw new AssertionError("the reference backend always opens");
  }

  private static Choice fastest(DType inputs) {
    Map<String, Gemm> opened = new LinkedHashMap<>();
    for (String candidate : BACKENDS.keySet()) {
      // The plain loops cannot win against a library, so they are not worth the wait; and on F32
      // inputs the two ways of oneDNN are one.
      boolean hopeless = candidate.equals("reference") && !opened.isEmpty();
      boolean twice = candidate.equals(OneDnnGemm.NAME_F32) && inputs == DType.F32;
      Gemm gemm = hopeless || twice ? null : openOrWarn(candidate, inputs);
      if (gemm != null) {
        opened.put(candidate, gemm);
      }
    }
    Map<String, Double> gflops = sampleGflops(opened, inputs);
    String best = null;
    for (String candidate : opened.keySet()) {
      if (best == null || gflops.get(candidate) > CLEARLY_FASTER * gflops.get(best)) {
        best = candidate;
      }
    }
    Gemm chosen = opened.remove(best);
    opened.values().forEach(Gemm::close);
    return new Choice(chosen, gflops);
  }

  /** Null when the library does not load. */
  private static Gemm openOrWarn(String name, DType inputs) {
    Gemm gemm = null;
    try {
      gemm = BACKENDS.get(name).get();
      // Forces every native that a call needs, so that a missing one shows here and not in the
      // first step.
      gflops(gemm, inputs, 2, 2, 2, 0);
      gflops(gemm, inputs, OneDnnGemm.UNIT, 2, 2, 0);
      return gemm;
    } catch (LinkageError | RuntimeException e) {
      LOG.warn(
          "gemm backend {} is not available on this machine: {}; trying the next",
          name,
          e.toString());
      if (gemm != null) {
        gemm.close();
      }
      return null;
    }
  }

  /**
   * GFLOP/s of every library over the samples, each at the fastest of several short runs. Other
   * processes can only make a run slower, and the libraries take turns so that none has all of its
   * runs in a busy moment.
   */
  private static Map<String, Double> sampleGflops(Map<String, Gemm> opened, DType inputs) {
    Map<String, Double> inverses = new LinkedHashMap<>();
    opened.keySet().forEach(name -> inverses.put(name, 0.0));
    for (int[] sample : SAMPLES) {
      Map<String, Double> best = new LinkedHashMap<>();
      for (int run = 0; run < SAMPLE_RUNS; run++) {
        opened.forEach(
            (name, gemm) ->
                best.merge(
                    name,
                    gflops(
                        gemm, inputs, sample[0], sample[1], sample[2], SAMPLE_NANOS / SAMPLE_RUNS),
                    Math::max));
      }
      best.forEach((name, gflops) -> inverses.merge(name, 1 / gflops, Double::sum));
    }
    inverses.replaceAll((name, inverse) -> SAMPLES.size() / inverse);
    return inverses;
  }

  /**
   * GFLOP/s of repeated products {@code x w^T} on the calling thread for about {@code nanos}, after
   * one to warm up.
   */
  private static double gflops(Gemm gemm, DType inputs, int m, int n, int k, long nanos) {
    try (FloatPointer a = ones(inputs, (long) m * k);
        FloatPointer b = ones(inputs, (long) n * k);
        FloatPointer c = ones(DType.F32, (long) m * n)) {
      linear(gemm, inputs, m, n, k, a.address(), b.address(), c.address());
      long start = System.nanoTime();
      long elapsed;
      long calls = 0;
      do {
        linear(gemm, inputs, m, n, k, a.address(), b.address(), c.address());
        calls++;
        elapsed = System.nanoTime() - start;
      } while (elapsed < nanos);
      return 2.0 * m * n * k * calls / elapsed;
    }
  }

  /**
   * GFLOP/s of 1024^3 products on all threads at once, one product a thread, for about {@code
   * millis}.
   */
  public static double peakGflops(Gemm gemm, DType inputs, Parallel parallel, int millis) {
    double[] byThread = new double[parallel.threads()];
    parallel.forEach(
        byThread.length,
        piece ->
            byThread[piece] =
                gflops(gemm, inputs, PEAK_SIZE, PEAK_SIZE, PEAK_SIZE, millis * 1_000_000L));
    double sum = 0;
    for (double gflops : byThread) {
      sum += gflops;
    }
    return sum;
  }

  private static void linear(Gemm gemm, DType inputs, int m, int n, int k, long a, long b, long c) {
    if (inputs == DType.BF16) {
      gemm.multiplyBfloat16(false, true, m, n, k, a, k, b, k, c, n, false);
    } else {
      gemm.multiply(false, true, m, n, k, a, k, b, k, c, n, false);
    }
  }

  private static FloatPointer ones(DType type, long count) {
    // Two BF16 ones lie where one float does.
    long floats = type == DType.BF16 ? (count + 1) / 2 : count;
    float one = type == DType.BF16 ? Float.intBitsToFloat(0x3F803F80) : 1;
    FloatPointer pointer = new FloatPointer(floats);
    for (long i = 0; i < floats; i++) {
      pointer.put(i, one);
    }
    return pointer;
  }
}
