package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;

/**
 * What {@code moe quickstart} is asked for.
 *
 * @param config merged configuration over the quickstart preset
 * @param out the run's folder
 * @param executors number of executors, 0 = as many as the settings name
 */
public record QuickstartOptions(ResolvedConfig config, String out, int executors) {}
