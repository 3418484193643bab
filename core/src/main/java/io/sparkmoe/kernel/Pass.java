package io.sparkmoe.kernel;

/**
 * One pass of a kernel over what a thread works on. Kernels that make several passes over a block,
 * which stays in the inner caches meanwhile, call them through this interface on purpose: the
 * compiler then compiles each by itself. Put together, they exceed what it is willing to inline,
 * and vectors that cross a call that is not inlined become objects. That holds only where more than
 * two passes meet in one call, and not for passes in {@code static final} fields: others the
 * compiler knows, and inlines after all.
 *
 * @param <W> block and workspace of a thread
 */
@FunctionalInterface
interface Pass<W> {
  void run(W work);
}
