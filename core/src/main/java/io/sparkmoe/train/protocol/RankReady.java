package io.sparkmoe.train.protocol;

/**
 * A rank's answer to {@link RunStart} when its state is in place.
 *
 * @param kernels what the rank computes with, for the log
 */
public record RankReady(String kernels) {}
