package io.sparkmoe.infer;

/** Hears of texts while they are written. */
@FunctionalInterface
public interface GenerationListener {

  /** Hears nothing. */
  GenerationListener NONE = (request, piece) -> {};

  /**
   * A piece of text that will not change any more; no character is ever split.
   *
   * @param request number of the request
   */
  void onText(int request, String piece);
}
