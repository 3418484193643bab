/**
 * 8-bit floats as others write them: tiles with FP32 scales ({@link io.sparkmoe.fp8.TileCodec}).
 * What this project computes with is in {@link io.sparkmoe.kernel.Kernels#quantize}; the codes are
 * {@link io.sparkmoe.tensor.Fp8Format}'s.
 */
package io.sparkmoe.fp8;
