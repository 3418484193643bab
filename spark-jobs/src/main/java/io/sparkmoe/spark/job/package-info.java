/**
 * One class per job, wiring only: read the configuration, check it, build, run, close. Start at
 * {@link io.sparkmoe.spark.job.TrainJob}; every job's options are a record beside it.
 */
package io.sparkmoe.spark.job;
