/** One class per job, wiring only: read the configuration, check it, build, run, close. */
package io.sparkmoe.spark.job;
