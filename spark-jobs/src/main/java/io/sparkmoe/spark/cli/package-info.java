/**
 * The command line: what a person types becomes the options of a job, and what goes wrong becomes
 * one sentence and an exit status. Start at {@link io.sparkmoe.spark.cli.Main}.
 */
package io.sparkmoe.spark.cli;
