/**
 * The language model: latent attention, dense and MoE layers, multi-token prediction, forward and
 * backward. Start at {@link io.sparkmoe.model.ModelConfig} for the shape and {@link
 * io.sparkmoe.model.Parameters} for the weights.
 */
package io.sparkmoe.model;
