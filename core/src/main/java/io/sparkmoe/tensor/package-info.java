/**
 * Typed, shaped views of off-heap ND4J buffers and the arenas that own them. Start at {@link
 * io.sparkmoe.tensor.Arena}, which allocates every {@link io.sparkmoe.tensor.Tensor}.
 */
package io.sparkmoe.tensor;
