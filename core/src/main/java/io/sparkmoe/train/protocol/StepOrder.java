package io.sparkmoe.train.protocol;

/**
 * The coordinator's answer to all reports of a step.
 *
 * @param learningRate of this step
 * @param gradientScale factor of all gradients, from clipping the global norm
 * @param evaluate whether to evaluate after the update
 * @param checkpoint whether to write a checkpoint after the update
 * @param failure why the run must stop now without an update, null = go on
 */
public record StepOrder(
    double learningRate,
    double gradientScale,
    boolean evaluate,
    boolean checkpoint,
    String failure) {}
