/**
 * Eight-bit floating point: the E4M3 and E5M2 codecs, power-of-two scales and tiles of 128 values
 * that share one. Start at {@link io.sparkmoe.fp8.Fp8Format} for the codes and at {@link
 * io.sparkmoe.fp8.TileCodec} for whole rows.
 */
package io.sparkmoe.fp8;
