package io.sparkmoe.moe;

import io.sparkmoe.kernel.Bench;
import io.sparkmoe.kernel.Bench.Products;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.time.Duration;
import java.util.Map;
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
 * How close does one whole mixture of experts, forward and backward, come to the matrix library's
 * peak? Gate, gather, experts and scatter take part, without shared expert and balance loss, as in
 * the first micro-batch of a step: gradients of experts are written, not added to. The products of
 * experts count in both directions, the gate's in the forward alone, since its backward takes the
 * chosen rows only. The reference takes 1/64 of the tokens. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=MoeLayerBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
// A call takes a fifth of a second, and the compiler needs some dozens of them.
@Warmup(iterations = 3, time = 5)
@Measurement(iterations = 4, time = 3)
@Fork(1)
public class MoeLayerBenchmark {

  private static final int T = 4096;
  private static final int REFERENCE_T = T / 64;
  private static final int D = 256;
  private static final int F = 128;
  private static final int K = 8;
  private static final int S = 64;

  /** Deviation of weights that keep the size of what passes through them. */
  private static final double SCALE = 1.0 / 16;

  private static final GateSite SITE = new GateSite(1, 0, 0, true);

  /** E. */
  @Param({"64", "256", "1024"})
  public int experts;

  private LocalCommunicator.Group group;
  private MixtureOfExperts fast;
  private MixtureOfExperts reference;
  private Layers layers;
  private Tensor x;
  private Tensor y;
  private Tensor dx;
  private Tensor dy;

  @Setup(Level.Trial)
  public void open(Bench bench) {
    group = LocalCommunicator.group(1, Duration.ofSeconds(30));
    GateWeights gate =
        new GateWeights(bench.random(SCALE, experts, D), bench.random(experts, D), bench.random(experts));
    gate.bias().zero();
    Weight gateUp =
        new Weight(bench.random(SCALE, experts, 2 * F, D), bench.random(experts, 2 * F, D));
    Weight down = new Weight(bench.random(SCALE, experts, D, F), bench.random(experts, D, F));
    layers = new ExactLayers(bench.fast);
    fast = layer(bench.fast, layers, gate, gateUp, down);
    reference = layer(bench.reference, new ExactLayers(bench.reference), gate, gateUp, down);
    x = bench.random(T, D);
    y = bench.random(T, D);
    dx = bench.random(T, D);
    dy = bench.random(T, D);
    run(bench, reference, REFERENCE_T, new Products());
    Tensor expected = bench.random(REFERENCE_T, D);
    expected.copyFrom(y.view(0, REFERENCE_T, D));
    run(bench, fast, REFERENCE_T, new Products());
    Bench.requireEqual("layer", expected, y.view(0, REFERENCE_T, D), 1e-4);
  }

  private MixtureOfExperts layer(
      Kernels kernels, Layers layers, GateWeights gate, Weight gateUp, Weight down) {
    return new MixtureOfExperts(
        new LocalGate(new RouterConfig(K, 8, 4, true, 2.5, false), Map.of(0, gate), kernels),
        new ExchangeDispatcher(
            group.rank(0), new ExpertPlacement(experts, 1), kernels, Wire.FP32, Wire.FP32),
        layers,
        layers.experts(gateUp, down),
        null,
        new PhaseClock(Phase.TRUNK));
  }

  @TearDown(Level.Trial)
  public void close() {
    group.close();
  }

  private void run(Bench bench, MixtureOfExperts layer, int tokens, Products products) {
    y.zero();
    dx.zero();
    try (io.sparkmoe.tensor.Scope scope = bench.arena().scope()) {
      Tensor valid = scope.allocate(DType.I32, tokens / S);
      for (int b = 0; b < valid.size(); b++) {
        valid.setInt(b, S);
      }
      Tensor input = x.view(0, tokens, D);
      MixtureOfExperts.Saved saved =
          layer.forward(SITE, y.view(0, tokens, D), input, valid, null, scope, scope);
      layer.backward(dx.view(0, tokens, D), dy.view(0, tokens, D), saved, 0, scope);
    }
    products.add(tokens * (3.0 * K * 3 * D * F + (double) D * experts));
  }

  @Benchmark
  public void fast(Bench bench, Products products) {
    layers.optimized();
    run(bench, fast, T, products);
  }

  @Benchmark
  public void reference(Bench bench, Products products) {
    run(bench, reference, REFERENCE_T, products);
  }

  @Benchmark
  public void limit(Bench bench, Products products) {
    bench.gemmPeak(products);
  }
}
