package io.sparkmoe.parallel;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Duration;

/**
 * How ranks work together ({@code cluster:} in the YAML file).
 *
 * @param gatePlacement where the gating networks are evaluated
 * @param gradientWire format of replicated gradients between ranks
 * @param dispatchWire format of hidden states to the experts and of their gradients back
 * @param combineWire format of expert outputs back and of their gradients there; FP32 or BF16
 * @param deadlineSeconds longest wait for another rank before the run fails and names it
 * @param checkpointDeadlineSeconds longest that a rank or the driver may read or write a checkpoint
 *     while the others wait for it
 * @param gradientCheckEvery steps between comparisons of a lossy gradient wire with an FP32 sum, 0
 *     = never
 * @param gemmBackend matrix library of all ranks: "onednn", "openblas", "reference", or "auto" =
 *     the fastest that the driver measures
 */
public record ClusterConfig(
    @JsonProperty("gate_placement") GatePlacement gatePlacement,
    @JsonProperty("gradient_wire") Wire gradientWire,
    @JsonProperty("dispatch_wire") Wire dispatchWire,
    @JsonProperty("combine_wire") Wire combineWire,
    @JsonProperty("deadline_seconds") int deadlineSeconds,
    @JsonProperty("checkpoint_deadline_seconds") int checkpointDeadlineSeconds,
    @JsonProperty("gradient_check_every") int gradientCheckEvery,
    @JsonProperty("gemm_backend") String gemmBackend) {

  /**
   * Where the gate runs: on the driver, which then owns forward and backward, or on every executor.
   */
  public enum GatePlacement {
    DRIVER,
    EXECUTOR
  }

  public ClusterConfig {
    if (combineWire == Wire.FP8) {
      throw new IllegalArgumentException("cluster.combine_wire must be fp32 or bf16, got fp8");
    }
    if (deadlineSeconds < 1) {
      throw new IllegalArgumentException(
          "cluster.deadline_seconds must be >= 1, got " + deadlineSeconds);
    }
    if (checkpointDeadlineSeconds < 1) {
      throw new IllegalArgumentException(
          "cluster.checkpoint_deadline_seconds must be >= 1, got " + checkpointDeadlineSeconds);
    }
    if (gradientCheckEvery < 0) {
      throw new IllegalArgumentException(
          "cluster.gradient_check_every must be >= 0, got " + gradientCheckEvery);
    }
  }

  /**
   * Driver gate, FP8 gradients and dispatch, BF16 combine, two minutes, half an hour for a
   * checkpoint.
   */
  public static ClusterConfig defaults() {
    return new ClusterConfig(
        GatePlacement.DRIVER, Wire.FP8, Wire.FP8, Wire.BF16, 120, 1800, 0, "auto");
  }

  /** Longest wait for one frame. */
  public Duration deadline() {
    return Duration.ofSeconds(deadlineSeconds);
  }

  /** Longest that an end may work on a checkpoint. */
  public Duration checkpointDeadline() {
    return Duration.ofSeconds(checkpointDeadlineSeconds);
  }

  /** The same with other number formats between ranks. */
  public ClusterConfig withWires(Wire gradients, Wire dispatch, Wire combine) {
    return new ClusterConfig(
        gatePlacement,
        gradients,
        dispatch,
        combine,
        deadlineSeconds,
        checkpointDeadlineSeconds,
        gradientCheckEvery,
        gemmBackend);
  }

  /** The same with the gates evaluated elsewhere. */
  public ClusterConfig withGatePlacement(GatePlacement placement) {
    return new ClusterConfig(
        placement,
        gradientWire,
        dispatchWire,
        combineWire,
        deadlineSeconds,
        checkpointDeadlineSeconds,
        gradientCheckEvery,
        gemmBackend);
  }

  /** The same with other longest waits, for a frame and for a checkpoint. */
  public ClusterConfig withDeadlines(int seconds, int checkpointSeconds) {
    return new ClusterConfig(
        gatePlacement,
        gradientWire,
        dispatchWire,
        combineWire,
        seconds,
        checkpointSeconds,
        gradientCheckEvery,
        gemmBackend);
  }

  /** The same with another matrix library. */
  public ClusterConfig withGemmBackend(String backend) {
    return new ClusterConfig(
        gatePlacement,
        gradientWire,
        dispatchWire,
        combineWire,
        deadlineSeconds,
        checkpointDeadlineSeconds,
        gradientCheckEvery,
        backend);
  }

  /** The same with other pauses between checks of the gradient wire. */
  public ClusterConfig withGradientCheckEvery(int steps) {
    return new ClusterConfig(
        gatePlacement,
        gradientWire,
        dispatchWire,
        combineWire,
        deadlineSeconds,
        checkpointDeadlineSeconds,
        steps,
        gemmBackend);
  }
}
