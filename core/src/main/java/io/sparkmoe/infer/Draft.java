package io.sparkmoe.infer;

/**
 * A token that a draft model proposes.
 *
 * @param token its id
 * @param probabilities of all ids, from which it was drawn; null when it is the likeliest one
 */
record Draft(int token, float[] probabilities) {}
