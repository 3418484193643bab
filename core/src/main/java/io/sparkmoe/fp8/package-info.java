/**
 * Rows of floats as 8-bit floating-point codes in tiles of 128 values that share one scale, as the
 * wire and weight files carry them. Start at {@link io.sparkmoe.fp8.TileCodec}; the codes
 * themselves are {@link io.sparkmoe.tensor.Fp8Format}'s.
 */
package io.sparkmoe.fp8;
