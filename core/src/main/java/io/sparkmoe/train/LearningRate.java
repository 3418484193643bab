package io.sparkmoe.train;

/**
 * The learning rate of every step: linear warm-up to {@code lr}, then constant, a half cosine to
 * {@code min_lr} at the last step, or warm-up-stable-decay (constant, then linear to {@code min_lr}
 * over the last fifth).
 */
public final class LearningRate {

  /** Share of the steps in which wsd decays. */
  private static final double WSD_DECAY_SHARE = 0.2;

  private LearningRate() {}

  /**
   * @param step optimizer step, from 1 to {@code config.steps()}
   * @return learning rate of that step
   */
  public static double at(TrainConfig config, int step) {
    if (step <= config.warmupSteps()) {
      return config.lr() * step / config.warmupSteps();
    }
    return switch (config.schedule()) {
      case CONSTANT -> config.lr();
      case COSINE -> {
        double progress = share(step - config.warmupSteps(), config.steps() - config.warmupSteps());
        yield config.minLr()
            + (config.lr() - config.minLr()) * 0.5 * (1 + Math.cos(Math.PI * progress));
      }
      case WSD -> {
        int decaySteps = (int) Math.ceil(WSD_DECAY_SHARE * config.steps());
        int stableUntil = Math.max(config.warmupSteps(), config.steps() - decaySteps);
        double progress = share(Math.max(0, step - stableUntil), config.steps() - stableUntil);
        yield config.lr() + (config.minLr() - config.lr()) * progress;
      }
    };
  }

  private static double share(int part, int whole) {
    return whole <= 0 ? 1 : Math.min(1, (double) part / whole);
  }
}
