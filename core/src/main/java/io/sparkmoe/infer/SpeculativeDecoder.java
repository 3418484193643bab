package io.sparkmoe.infer;

import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.InferenceModel.Output;
import io.sparkmoe.model.ModelConfig.MtpHidden;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Writes one or two tokens a step: the first MTP module drafts the token after next, and the main
 * model scores both in one pass that reads its weights once. Lossless: the text has the
 * distribution that the main model alone gives it, and is the same token for token when the
 * likeliest token is always chosen, because a row of a pass has the same bits whatever stands
 * beside it.
 *
 * <p>Verification [1, algorithm 1]: with q the draft's distribution and p the main model's, both
 * after temperature, top-k and top-p, a draft x is accepted with probability {@code min(1, p(x) /
 * q(x))}. One that is refused is replaced by a draw from {@code max(0, p - q)}, normalised, and the
 * caches forget it; one that is accepted is followed by a draw from the main model's next
 * distribution.
 *
 * <p>[1] Leviathan, Kalman, Matias, Fast Inference from Transformers via Speculative Decoding,
 * 2023.
 */
final class SpeculativeDecoder implements Decoder {

  private static final int DEPTH = 1;

  /** Rows of a sequence in a verifying pass: its newest token and the draft. */
  private static final int VERIFIED = 2;

  /** Uses of random numbers at one position of a text; the sampler's own is 0. */
  private static final int DRAFT = 1;

  private static final int ACCEPT = 2;

  private final InferenceModel model;
  private final Sampler sampler;
  private final float[] target;
  private long drafted;
  private long accepted;

  /**
   * @param model with an MTP module
   */
  SpeculativeDecoder(InferenceModel model, Sampler sampler) {
    this.model = model;
    this.sampler = sampler;
    this.target = new float[sampler.numTokens()];
  }

  @Override
  public void prefill(List<Sequence> sequences) {
    Prefill.run(
        model,
        sequences,
        (fed, appends, output) -> {
          boolean[] done = new boolean[fed.size()];
          for (int s = 0; s < done.length; s++) {
            Sequence sequence = fed.get(s);
            done[s] = sequence.promptLeft() == 0;
            if (done[s]) {
              sequence.add(choose(sequence, output.logits(), s));
            }
          }
          int[] rows = new int[done.length];
          for (int s = 0; s < rows.length; s++) {
            rows[s] = appends.get(s).tokens().length;
          }
          lookAhead(fed, done, rows, passedOn(output), null);
        });
  }

  @Override
  public void step(List<Sequence> sequences) {
    List<Append> appends = new ArrayList<>(sequences.size());
    for (Sequence sequence : sequences) {
      appends.add(new Append(sequence.cache(), sequence.lastToken(), sequence.draft().token()));
    }
    Output output = model.forward(appends, Logits.ALL);
    boolean[] all = new boolean[sequences.size()];
    int[] rows = new int[sequences.size()];
    List<Integer> kept = new ArrayList<>();
    for (int s = 0; s < rows.length; s++) {
      all[s] = true;
      rows[s] = verify(sequences.get(s), output.logits(), VERIFIED * s) ? 2 : 1;
      for (int row = 0; row < rows[s]; row++) {
        kept.add(VERIFIED * s + row);
      }
    }
    boolean some = kept.size() < VERIFIED * rows.length;
    int[] index = some ? kept.stream().mapToInt(Integer::intValue).toArray() : null;
    lookAhead(sequences, all, rows, passedOn(output), index);
  }

  @Override
  public double draftAcceptance() {
    return drafted == 0 ? Double.NaN : (double) accepted / drafted;
  }

  /**
   * Adds one token to a sequence, or two when its draft is accepted.
   *
   * @param row of the logits that judge the draft; the next one follows it
   */
  private boolean verify(Sequence sequence, Tensor logits, int row) {
    int token = judge(sequence, logits, row);
    boolean accept = token == sequence.draft().token();
    sequence.add(new Sampler.Choice(token, sampler.logProbability(logits, row, token)));
    drafted++;
    if (accept) {
      accepted++;
      sequence.add(choose(sequence, logits, row + 1));
    } else {
      LatentCache cache = sequence.cache();
      cache.truncate(0, cache.length() - 1);
    }
    return accept;
  }

  /**
   * The draft, or what replaces it: a token other than the draft, since a refused draft is less
   * likely under p than under q.
   */
  private int judge(Sequence sequence, Tensor logits, int row) {
    SamplingOptions options = sequence.request().sampling();
    if (options.isGreedy()) {
      return sampler.likeliest(logits, row);
    }
    int token = sequence.draft().token();
    float[] q = sequence.draft().probabilities();
    int position = sequence.numTokens();
    sampler.distribution(target, logits, row, options);
    return Sampler.uniform(options.seed(), position, ACCEPT) * q[token] < target[token]
        ? token
        : rest(target, q, Sampler.uniform(options.seed(), position, 0));
  }

  /** A draw from {@code max(0, p - q)}, normalised; p is overwritten. */
  private static int rest(float[] p, float[] q, double uniform) {
    double sum = 0;
    for (int i = 0; i < p.length; i++) {
      p[i] = Math.max(0, p[i] - q[i]);
      sum += p[i];
    }
    return Sampler.pick(p, uniform * sum);
  }

  /**
   * Runs the MTP module over the positions that the main model has settled, and drafts.
   *
   * @param drafting which sequences get a draft; the others are within their prompt
   * @param rows positions of each sequence, the newest ones of its cache
   * @param hidden the main model's hidden states
   * @param index rows of {@code hidden} to read, null = all
   */
  private void lookAhead(
      List<Sequence> sequences, boolean[] drafting, int[] rows, Tensor hidden, int[] index) {
    List<Append> appends = new ArrayList<>(sequences.size());
    boolean any = false;
    for (int s = 0; s < rows.length; s++) {
      appends.add(new Append(sequences.get(s).cache(), following(sequences.get(s), rows[s])));
      any |= drafting[s];
    }
    Output output =
        model.forwardMtp(DEPTH, hidden, index, appends, any ? Logits.LAST : Logits.NONE);
    for (int s = 0; s < rows.length; s++) {
      if (drafting[s]) {
        draft(sequences.get(s), output.logits(), s);
      }
    }
  }

  private void draft(Sequence sequence, Tensor logits, int row) {
    SamplingOptions options = sequence.request().sampling();
    if (options.isGreedy()) {
      sequence.setDraft(new Draft(sampler.likeliest(logits, row), null));
      return;
    }
    float[] probabilities =
        sequence.draft() == null
            ? new float[sampler.numTokens()]
            : sequence.draft().probabilities();
    sampler.distribution(probabilities, logits, row, options);
    double uniform = Sampler.uniform(options.seed(), sequence.numTokens(), DRAFT);
    sequence.setDraft(new Draft(Sampler.pick(probabilities, uniform), probabilities));
  }

  /** The tokens after the newest {@code count} positions of a sequence's cache. */
  private static int[] following(Sequence sequence, int count) {
    LatentCache cache = sequence.cache();
    int first = cache.length() - count;
    // Behind only where another decoder wrote before; then positions are off, and so are drafts.
    cache.truncate(DEPTH, Math.min(first, cache.length(DEPTH)));
    int[] tokens = new int[count];
    for (int i = 0; i < count; i++) {
      tokens[i] = sequence.tokenAt(first + i + 1);
    }
    return tokens;
  }

  private Sampler.Choice choose(Sequence sequence, Tensor logits, int row) {
    return sampler.choose(logits, row, sequence.request().sampling(), sequence.numTokens());
  }

  private Tensor passedOn(Output output) {
    return model.config().mtpHidden() == MtpHidden.POST_NORM ? output.normed() : output.hidden();
  }
}
