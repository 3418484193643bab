/**
 * Training: the worker that every rank runs, the coordinator on the driver, AdamW, schedules and
 * metrics. Start at {@link io.sparkmoe.train.LocalTraining}, which puts a {@link
 * io.sparkmoe.train.Worker} for every rank and a {@link io.sparkmoe.train.Coordinator} together.
 */
package io.sparkmoe.train;
