package io.sparkmoe.distill.dl4j;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.GivenText;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherModel;
import io.sparkmoe.distill.TokenScores;
import io.sparkmoe.distill.WrittenText;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * A recurrent language model of DL4J or Keras as teacher: a network that gives a softmax over the
 * tokens at every step. Its probabilities are what the softmax left of the logits, so those below
 * single precision's smallest number count as that number.
 *
 * <p>Legend: C vocabulary of the network, K top-k.
 */
public final class Dl4jModel implements TeacherModel {

  /** Far above what anyone feeds a recurrent network; it keeps a longer prompt from the memory. */
  private static final int MAX_STEPS = 1 << 16;

  private final Network network;
  private final SequenceFormat format;
  private final Tokenizer tokenizer;
  private final SamplingSettings sampling;

  private Dl4jModel(
      Network network, SequenceFormat format, Tokenizer tokenizer, SamplingSettings sampling) {
    this.network = network;
    this.format = format;
    this.tokenizer = tokenizer;
    this.sampling = sampling;
  }

  /**
   * Reads a network.
   *
   * @param tokenizer that the network was trained with; stays the caller's. It may have one id
   *     more, the end of a text, when the network never saw that
   * @throws IllegalArgumentException when it is no language model over those tokens
   */
  public static Dl4jModel read(Path file, Tokenizer tokenizer, SamplingSettings sampling)
      throws IOException {
    Network network = Network.read(file);
    int vocabSize = tokenizer.vocabSize();
    int unseen = tokenizer.endOfTextId() == vocabSize - 1 ? 1 : 0;
    SequenceFormat format = SequenceFormat.probe(network, vocabSize, unseen);
    return new Dl4jModel(network, format, tokenizer, sampling);
  }

  @Override
  public int contextLength() {
    return MAX_STEPS;
  }

  @Override
  public List<TokenScores> score(List<GivenText> texts) {
    List<TokenScores> scores = new ArrayList<>();
    for (int start = 0; start < texts.size(); ) {
      int inputs = texts.get(start).ids().length - 1;
      int end = start + 1;
      while (end < Math.min(texts.size(), start + format.batch())
          && texts.get(end).ids().length - 1 == inputs) {
        end++;
      }
      scores.addAll(together(texts.subList(start, end)));
      start = end;
    }
    return scores;
  }

  private List<TokenScores> together(List<GivenText> texts) {
    List<int[]> inputs = new ArrayList<>();
    for (GivenText text : texts) {
      inputs.add(Arrays.copyOf(text.ids(), text.ids().length - 1));
    }
    float[][][] probabilities = format.decode(network.output(format.encode(inputs)));
    List<TokenScores> scores = new ArrayList<>();
    for (int b = 0; b < texts.size(); b++) {
      scores.add(scores(texts.get(b), probabilities[b]));
    }
    return scores;
  }

  private TokenScores scores(GivenText text, float[][] probabilities) {
    int topK = Math.min(sampling.topK(), format.vocabSize());
    int numTokens = text.ids().length - text.first();
    TokenScores scores = TokenScores.unwritten(numTokens, topK);
    for (int i = 0; i < numTokens; i++) {
      // Step s is given tokens 0 to s and speaks of token s + 1.
      Distribution p = new Distribution(probabilities[text.first() + i - 1]);
      scores.given()[i] = p.logOf(text.ids()[text.first() + i]);
      if (topK > 0) {
        int[] best = p.mostProbable(topK);
        scores.topkIds()[i] = best;
        for (int k = 0; k < topK; k++) {
          scores.topkLogprobs()[i][k] = p.logOf(best[k]);
        }
        scores.tailLogMass()[i] = p.logOfAllBut(best);
      }
    }
    return scores;
  }

  @Override
  public List<WrittenText> write(List<GivenText> prompts) {
    return prompts.stream().map(this::write).toList();
  }

  private WrittenText write(GivenText prompt) {
    SplittableRandom random = new SplittableRandom(prompt.request().seed());
    int[] ids = new int[sampling.maxTokens()];
    float[] logprobs = new float[ids.length];
    int count = 0;
    boolean ended = false;
    network.clear();
    int[] next = prompt.ids();
    while (count < ids.length && !ended) {
      Distribution p = lastOf(next);
      int id = p.sample(sampling.temperature(), sampling.topP(), random);
      ids[count] = id;
      logprobs[count++] = p.logOf(id);
      ended = id == tokenizer.endOfTextId();
      next = new int[] {id};
    }
    int[] written = Arrays.copyOf(ids, count);
    return new WrittenText(
        prompt, written, tokenizer.decode(written), Arrays.copyOf(logprobs, count), ended);
  }

  /** The distribution after some more steps. */
  private Distribution lastOf(int[] steps) {
    float[][] rows = format.decode(network.step(format.encode(List.of(steps))))[0];
    return new Distribution(rows[rows.length - 1]);
  }

  @Override
  public void close() {
    network.clear();
  }
}
