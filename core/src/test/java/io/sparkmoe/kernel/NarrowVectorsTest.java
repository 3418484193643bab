package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/**
 * The kernels' tests on machines of narrower vectors: a JVM told so chooses the same species, and
 * compiles the same way, as one on a CPU without AVX-512 or AVX.
 */
class NarrowVectorsTest {

  private static final List<Class<?>> TESTS =
      List.of(
          AttentionKernelsTest.class,
          ElementwiseKernelsTest.class,
          Fp8KernelsTest.class,
          RouterKernelsTest.class,
          RowKernelsTest.class,
          SpecialTensorsTest.class);

  @ParameterizedTest
  @ValueSource(ints = {256, 128})
  void kernelsAgreeWithTheReference(int bits) throws Exception {
    ForkedJvm.Result result =
        ForkedJvm.run(
            List.of("--add-modules=jdk.incubator.vector", "-XX:MaxVectorSize=" + bits / Byte.SIZE),
            Tests.class,
            Integer.toString(bits));
    assertThat(result.status()).as(result.output()).isZero();
    assertThat(result.output()).contains("all tests passed at " + bits + " bits");
  }

  /** Runs the tests and ends with status 1 when one fails. */
  static final class Tests {

    private Tests() {}

    public static void main(String[] args) {
      int bits = Integer.parseInt(args[0]);
      if (Lanes.FLOATS.vectorBitSize() != bits) {
        System.out.println("vectors have " + Lanes.FLOATS.vectorBitSize() + " bits");
        System.exit(1);
      }
      LauncherDiscoveryRequest request =
          LauncherDiscoveryRequestBuilder.request()
              .selectors(TESTS.stream().map(DiscoverySelectors::selectClass).toList())
              .build();
      SummaryGeneratingListener summary = new SummaryGeneratingListener();
      Launcher launcher = LauncherFactory.create();
      launcher.execute(request, summary);
      summary.getSummary().printFailuresTo(new PrintWriter(System.out, true), 10);
      boolean passed =
          summary.getSummary().getTotalFailureCount() == 0
              && summary.getSummary().getTestsSucceededCount() > TESTS.size();
      System.out.println(passed ? "all tests passed at " + bits + " bits" : "tests failed");
      System.exit(passed ? 0 : 1);
    }
  }
}
