package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * What a teacher stored about the next token of each row: its K most probable tokens and the mass
 * of all others.
 *
 * <p>Legend: T rows, K stored tokens of a row, C vocabulary.
 *
 * @param ids I32 (T, K), distinct within a row, -1 = no entry; entries stand before gaps. A row
 *     without an entry has no teacher
 * @param logProbabilities (T, K): of the full softmax at temperature 1; -infinity is allowed, gaps
 *     are not read
 * @param tailLogMass (T): log of the mass outside the row's ids; not read where the ids are all of
 *     the vocabulary
 */
public record TeacherTargets(Tensor ids, Tensor logProbabilities, Tensor tailLogMass) {

  public TeacherTargets {
    KernelArguments.sameSize(ids, logProbabilities);
    KernelArguments.equal(() -> "tails of teacher ids " + ids, ids.rows(), tailLogMass.size());
  }

  /** K. */
  public int topK() {
    return ids.cols();
  }

  /** A borrowed view of some rows. */
  public TeacherTargets rows(int first, int count) {
    int k = topK();
    return new TeacherTargets(
        ids.view(first * k, count, k),
        logProbabilities.view(first * k, count, k),
        tailLogMass.view(first, count));
  }
}
