package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.train.TrainConfig.Schedule;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class LearningRateTest {

  private static final double LR = 4e-3;
  private static final double MIN_LR = 4e-4;

  @Test
  @DisplayName("warm-up rises linearly and reaches the peak at its last step")
  void warmsUp() {
    TrainConfig config = config(Schedule.COSINE);
    assertThat(LearningRate.at(config, 1)).isEqualTo(LR / 10);
    assertThat(LearningRate.at(config, 5)).isEqualTo(LR / 2);
    assertThat(LearningRate.at(config, 10)).isEqualTo(LR);
  }

  @Test
  @DisplayName("cosine is half way down in the middle and at min_lr at the last step")
  void cosine() {
    TrainConfig config = config(Schedule.COSINE);
    assertThat(LearningRate.at(config, 60)).isCloseTo((LR + MIN_LR) / 2, within(1e-12));
    assertThat(LearningRate.at(config, 110)).isCloseTo(MIN_LR, within(1e-12));
  }

  @Test
  @DisplayName("wsd stays at the peak until the last fifth and ends at min_lr")
  void warmupStableDecay() {
    TrainConfig config = config(Schedule.WSD);
    assertThat(LearningRate.at(config, 88)).isEqualTo(LR);
    assertThat(LearningRate.at(config, 99)).isCloseTo((LR + MIN_LR) / 2, within(1e-12));
    assertThat(LearningRate.at(config, 110)).isCloseTo(MIN_LR, within(1e-12));
  }

  @Test
  @DisplayName("constant does not move after the warm-up")
  void constant() {
    assertThat(LearningRate.at(config(Schedule.CONSTANT), 110)).isEqualTo(LR);
  }

  private static TrainConfig config(Schedule schedule) {
    return TrainConfigs.base()
        .steps(110)
        .lr(LR)
        .minLr(MIN_LR)
        .warmupSteps(10)
        .schedule(schedule)
        .build();
  }
}
