package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;

/**
 * What {@code moe train} is asked for.
 *
 * @param config merged configuration; its vocabulary still has to meet the dataset's tokenizer
 * @param data folder of a dataset that {@code moe prepare} made
 * @param out the run's folder
 * @param resume "auto" (the newest whole checkpoint in {@code out}, if any), "never", or a
 *     checkpoint's folder
 * @param engine where it runs
 * @param executors number of executors, 0 = as many as the settings name
 */
public record TrainOptions(
    ResolvedConfig config, String data, String out, String resume, Engine engine, int executors) {

  /** Goes on from the newest whole checkpoint of the run's folder. */
  public static final String RESUME_AUTO = "auto";

  /** Starts anew and refuses a folder that holds a run. */
  public static final String RESUME_NEVER = "never";
}
