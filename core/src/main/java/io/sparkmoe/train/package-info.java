/**
 * Training: the worker that every rank runs, the coordinator on the driver, AdamW, schedules and
 * metrics. Start at {@link io.sparkmoe.train.TrainConfig}.
 */
package io.sparkmoe.train;
