/**
 * What a worker and the coordinator say to each other in the course of a step. Start at {@link
 * io.sparkmoe.train.protocol.Protocol}, which encodes the messages and lists them in order.
 */
package io.sparkmoe.train.protocol;
