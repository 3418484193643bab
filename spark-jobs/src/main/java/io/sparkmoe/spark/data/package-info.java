/**
 * Documents into datasets of token rows, and rows out to the ranks; files on Hadoop file systems.
 * Start at {@link io.sparkmoe.spark.data.TokenDataset}.
 */
package io.sparkmoe.spark.data;
