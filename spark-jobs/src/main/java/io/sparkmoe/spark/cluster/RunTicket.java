package io.sparkmoe.spark.cluster;

import java.io.Serializable;
import java.time.Duration;

/**
 * What a rank needs to find its run; travels in the task closure.
 *
 * @param host where the driver listens
 * @param port where the driver listens
 * @param token random bytes that tell this run's ranks from strangers
 * @param numRanks ranks of the run
 * @param deadline longest wait for another end
 * @param driverWork longest that the driver may be at work by itself before it lets a rank join
 */
record RunTicket(
    String host, int port, Token token, int numRanks, Duration deadline, Duration driverWork)
    implements Serializable {}
