package io.sparkmoe.distill;

import io.sparkmoe.infer.Append;
import io.sparkmoe.infer.InferenceModel;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.LatentCache;
import io.sparkmoe.infer.Sampler;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.TeacherTargets;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Judges given tokens with a model: one forward pass over many texts at a time, whose logits exist
 * for one pass only.
 *
 * <p>Legend: M rows of a pass, C vocabulary, K top-k.
 */
final class TokenScorer {

  /** Logits of a pass, 64 MB: more rows gain nothing, and vocabularies are large. */
  private static final int PASS_ELEMENTS = 1 << 24;

  private static final int MAX_PASS_ROWS = 2048;
  private static final int MIN_PASS_ROWS = 128;

  private final InferenceModel model;
  private final Kernels kernels;
  private final Arena arena;
  private final int numTokens;
  private final int topK;
  private final int passRows;

  /**
   * @param arena holds scores of a pass; stays the caller's
   * @param numTokens ids of the tokenizer; what the model gives to others counts as tail
   * @param topK K; 0 = only the tokens themselves
   */
  TokenScorer(InferenceModel model, Kernels kernels, Arena arena, int numTokens, int topK) {
    int vocabSize = model.config().vocabSize();
    this.model = model;
    this.kernels = kernels;
    this.arena = arena;
    this.numTokens = numTokens;
    this.topK = Math.min(topK, numTokens);
    this.passRows = Math.max(MIN_PASS_ROWS, Math.min(MAX_PASS_ROWS, PASS_ELEMENTS / vocabSize));
  }

  /** Scores of each text's tokens from {@code first} on. */
  List<TokenScores> score(List<GivenText> texts) {
    List<TokenScores> scores = new ArrayList<>();
    for (GivenText text : texts) {
      scores.add(TokenScores.unwritten(text.ids().length - text.first(), topK));
    }
    int start = 0;
    while (start < texts.size()) {
      int end = start + 1;
      int rows = texts.get(start).inputs();
      while (end < texts.size() && rows + texts.get(end).inputs() <= passRows) {
        rows += texts.get(end++).inputs();
      }
      group(texts.subList(start, end), scores.subList(start, end));
      start = end;
    }
    return scores;
  }

  /** Several texts in one pass, or a single one, long as it may be, in several. */
  private void group(List<GivenText> texts, List<TokenScores> scores) {
    List<LatentCache> caches = new ArrayList<>();
    try {
      for (GivenText text : texts) {
        caches.add(model.newCache(text.inputs()));
      }
      int longest = texts.stream().mapToInt(GivenText::inputs).max().orElseThrow();
      int step = texts.size() == 1 ? passRows : longest;
      for (int from = 0; from < longest; from += step) {
        pass(texts, scores, caches, from, from + step);
      }
    } finally {
      caches.forEach(LatentCache::close);
    }
  }

  /** Inputs [from, to) of every text. */
  private void pass(
      List<GivenText> texts, List<TokenScores> scores, List<LatentCache> caches, int from, int to) {
    List<Append> appends = new ArrayList<>();
    int rows = 0;
    for (int i = 0; i < texts.size(); i++) {
      int end = Math.min(to, texts.get(i).inputs());
      appends.add(new Append(caches.get(i), Arrays.copyOfRange(texts.get(i).ids(), from, end)));
      rows += end - from;
    }
    Tensor logits = model.forward(appends, Logits.ALL).logits();
    try (Scope scope = arena.scope()) {
      Tensor targets = scope.allocate(DType.I32, rows);
      int row = 0;
      for (int text = 0; text < texts.size(); text++) {
        for (int i = 0; i < appends.get(text).tokens().length; i++) {
          targets.setInt(row++, texts.get(text).ids()[from + i + 1]);
        }
      }
      Tensor given = scope.allocate(DType.F32, rows);
      // The largest alone costs little more than none, and keeps one kernel for both.
      int k = Math.max(1, topK);
      TeacherTargets ranked =
          new TeacherTargets(
              scope.allocate(DType.I32, rows, k),
              scope.allocate(DType.F32, rows, k),
              scope.allocate(DType.F32, rows));
      kernels.rankTokens(ranked, given, logits, targets, numTokens);
      row = 0;
      for (int i = 0; i < texts.size(); i++) {
        int count = appends.get(i).tokens().length;
        copy(scores.get(i), from + 1 - texts.get(i).first(), count, ranked, given, row);
        row += count;
      }
    }
  }

  /**
   * @param at token that the first row belongs to; below zero where it belongs to the given ones
   */
  private void copy(
      TokenScores scores, int at, int count, TeacherTargets ranked, Tensor given, int firstRow) {
    for (int i = Math.max(0, -at); i < count; i++) {
      int token = at + i;
      int row = firstRow + i;
      scores.given()[token] = given.getFloat(row);
      Sampler.requireFinite("log-probability", scores.given()[token]);
      if (topK > 0) {
        scores.tailLogMass()[token] = ranked.tailLogMass().getFloat(row);
        for (int k = 0; k < topK; k++) {
          scores.topkIds()[token][k] = ranked.ids().getInt(row * topK + k);
          scores.topkLogprobs()[token][k] = ranked.logProbabilities().getFloat(row * topK + k);
        }
      }
    }
  }
}
