/**
 * Ranks and what they say to each other: {@link io.sparkmoe.parallel.Communicator} moves typed
 * frames between ranks and to the driver, {@link io.sparkmoe.parallel.ExpertPlacement} says who
 * owns which expert. Start at Communicator.
 */
package io.sparkmoe.parallel;
