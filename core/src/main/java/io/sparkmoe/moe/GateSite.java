package io.sparkmoe.moe;

/**
 * Where in a run a gate is asked.
 *
 * @param step optimizer step, from 1
 * @param microBatch number of the forward pass within the step; evaluation passes count on after
 *     training ones
 * @param layer decoder layer, MTP layers following the main model's
 * @param training whether a backward follows: then the gate keeps what it needs and counts the load
 */
public record GateSite(int step, int microBatch, int layer, boolean training) {}
