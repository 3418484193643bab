/**
 * The language model: latent attention, dense and MoE layers, multi-token prediction, forward and
 * backward. Start at {@link io.sparkmoe.model.LanguageModel}; {@link io.sparkmoe.model.ModelConfig}
 * has its shape and {@link io.sparkmoe.model.Parameters} its weights.
 */
package io.sparkmoe.model;
