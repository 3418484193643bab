package io.sparkmoe.train;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.train.TrainConfig.Schedule;
import java.util.HashMap;
import java.util.Map;

/** Training configs for tests: small values, changed by name. */
final class TrainConfigs {

  private final Map<String, Object> values = new HashMap<>();

  private TrainConfigs() {}

  static TrainConfigs base() {
    TrainConfigs configs = new TrainConfigs();
    configs.values.putAll(
        Map.of(
            "steps",
            10,
            "batch_sequences",
            4,
            "seq_len",
            8,
            "lr",
            1e-3,
            "beta1",
            0.9,
            "beta2",
            0.95));
    configs.values.putAll(
        Map.of(
            "eps",
            1e-8,
            "schedule",
            "CONSTANT",
            "precision",
            "FP32",
            "keep_checkpoints",
            2,
            "seed",
            7));
    return configs;
  }

  TrainConfigs steps(int steps) {
    return with("steps", steps);
  }

  TrainConfigs lr(double lr) {
    return with("lr", lr);
  }

  TrainConfigs minLr(double minLr) {
    return with("min_lr", minLr);
  }

  TrainConfigs warmupSteps(int steps) {
    return with("warmup_steps", steps);
  }

  TrainConfigs schedule(Schedule schedule) {
    return with("schedule", schedule.name());
  }

  TrainConfigs with(String key, Object value) {
    values.put(key, value);
    return this;
  }

  TrainConfig build() {
    return new ObjectMapper().convertValue(values, TrainConfig.class);
  }
}
