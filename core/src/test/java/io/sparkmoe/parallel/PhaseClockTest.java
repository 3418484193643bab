package io.sparkmoe.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class PhaseClockTest {

  @Test
  @DisplayName("phases add up to the time that passed")
  void phasesAddUp() {
    long start = System.nanoTime();
    PhaseClock clock = new PhaseClock(Phase.DATA);
    assertThat(clock.enter(Phase.EXPERTS)).isEqualTo(Phase.DATA);
    spin();
    assertThat(clock.enter(Phase.CONTROL)).isEqualTo(Phase.EXPERTS);
    double[] lap = clock.lapSeconds();
    double passed = (System.nanoTime() - start) * 1e-9;
    double sum = Arrays.stream(lap).sum();
    assertThat(sum).isLessThanOrEqualTo(passed);
    assertThat(lap[Phase.EXPERTS.ordinal()]).isPositive();
    assertThat(clock.lapSeconds()[Phase.EXPERTS.ordinal()]).isZero();
  }

  @Test
  @DisplayName("a pinned phase keeps all time until it is unpinned")
  void pinnedPhaseKeepsTheTime() {
    PhaseClock clock = new PhaseClock(Phase.CONTROL);
    clock.pin(Phase.EVALUATE);
    clock.enter(Phase.EXPERTS);
    spin();
    clock.unpin();
    clock.enter(Phase.CONTROL);
    double[] lap = clock.lapSeconds();
    assertThat(lap[Phase.EXPERTS.ordinal()]).isCloseTo(0, within(0.0));
    assertThat(lap[Phase.EVALUATE.ordinal()]).isPositive();
  }

  private static void spin() {
    long until = System.nanoTime() + 1_000;
    while (System.nanoTime() < until) {
      Thread.onSpinWait();
    }
  }
}
