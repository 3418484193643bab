/**
 * The arithmetic: {@link io.sparkmoe.kernel.Kernels} names every operation of the model once, with
 * a plain reference and a fast twin, and {@link io.sparkmoe.kernel.Gemm} is what a matrix library
 * must offer. The only package that imports the Vector API or a BLAS; start at {@link
 * io.sparkmoe.kernel.Kernels}.
 */
package io.sparkmoe.kernel;
