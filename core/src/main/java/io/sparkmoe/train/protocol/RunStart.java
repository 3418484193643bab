package io.sparkmoe.train.protocol;

/**
 * The coordinator's first word to every rank.
 *
 * @param resumedFromStep step of the checkpoint to load, 0 = start from initial weights
 * @param gemmBackend matrix library that every rank must use, so that bits do not hang on a
 *     measurement
 * @param lastStep step to end after, at least {@code resumedFromStep}
 */
public record RunStart(int resumedFromStep, String gemmBackend, int lastStep) {}
