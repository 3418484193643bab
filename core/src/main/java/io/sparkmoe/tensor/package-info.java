/**
 * Typed, shaped views of off-heap ND4J buffers, the arenas that own them, and the element formats
 * that Java lacks ({@link io.sparkmoe.tensor.Bfloat16}, {@link io.sparkmoe.tensor.Fp8Format}).
 * Start at {@link io.sparkmoe.tensor.Arena}, which allocates every {@link
 * io.sparkmoe.tensor.Tensor}.
 */
package io.sparkmoe.tensor;
