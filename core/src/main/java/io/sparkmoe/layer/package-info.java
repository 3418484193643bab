/**
 * The layers that multiply by weights, in the number format of a run: projections, gated
 * feed-forward networks and routed experts, with their backward passes. Model code asks {@link
 * io.sparkmoe.layer.Layers} for them and reads the same in every format.
 */
package io.sparkmoe.layer;
