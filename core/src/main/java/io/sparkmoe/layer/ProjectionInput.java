package io.sparkmoe.layer;

import io.sparkmoe.tensor.Scope;

/**
 * An input of layers as their number format wants it, made by {@link Layers#input}. The forward
 * reads it until its scratch scope ends; what the backward needs stays with the saved scope.
 */
public interface ProjectionInput {

  /** An input made ready for the weight gradients of the projections that read it. */
  interface ForGradient {}

  /**
   * Prepares the weight gradients of all projections that read this input.
   *
   * @param scratch owns what is prepared
   */
  ForGradient forGradient(Scope scratch);

  /**
   * The same input for projections that are computed once more in the backward.
   *
   * @param scratch owns what is prepared
   */
  ProjectionInput again(Scope scratch);
}
