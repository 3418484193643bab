/**
 * Weights and training state on disk: safetensors files under a manifest that is written last.
 * Start at {@link io.sparkmoe.checkpoint.CheckpointStore}, or at {@link
 * io.sparkmoe.checkpoint.WeightSource} to read weights wherever they come from; {@link
 * io.sparkmoe.checkpoint.SafetensorsReader} reads any safetensors file.
 */
package io.sparkmoe.checkpoint;
