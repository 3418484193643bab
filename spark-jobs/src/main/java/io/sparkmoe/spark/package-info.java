/**
 * The Spark side of spark-moe; its packages hold the cluster, the data, the jobs and the command
 * line.
 */
package io.sparkmoe.spark;
