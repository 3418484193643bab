package io.sparkmoe.infer;

import io.sparkmoe.data.Tokenizer;
import java.util.Arrays;
import java.util.Set;

/** A text that is being written: its tokens, and the text that they have made so far. */
final class ActiveText implements AutoCloseable {

  private final Sequence sequence;
  private final Set<Integer> endIds;
  private final TextStream stream;
  private final StringBuilder text = new StringBuilder();

  /** Written tokens that the text was told of; the text's end cuts off what lies beyond. */
  private int numTaken;

  private FinishReason finishReason;

  ActiveText(Sequence sequence, Tokenizer tokenizer, Set<Integer> endIds) {
    this.sequence = sequence;
    this.endIds = endIds;
    this.stream = new TextStream(tokenizer, sequence.request().stops());
  }

  Sequence sequence() {
    return sequence;
  }

  /** Tokens of the text so far; a sequence may have written more than its end lets in. */
  int numTokens() {
    return numTaken;
  }

  boolean isEnded() {
    return finishReason != null;
  }

  /** Takes the tokens written since the last call and returns the text that is certain now. */
  String advance() {
    StringBuilder piece = new StringBuilder();
    int[] tokens = sequence.tokens();
    while (finishReason == null && numTaken < tokens.length) {
      int token = tokens[numTaken++];
      boolean end = endIds.contains(token);
      piece.append(end ? "" : stream.add(token));
      if (end || stream.isStopped()) {
        finishReason = FinishReason.STOP;
      } else if (numTaken == sequence.request().maxTokens()) {
        finishReason = FinishReason.LENGTH;
      }
    }
    if (finishReason != null) {
      piece.append(stream.end());
      if (stream.isStopped()) {
        finishReason = FinishReason.STOP;
      }
    }
    text.append(piece);
    return piece.toString();
  }

  /** The whole text, once it has ended. */
  Generation generation() {
    return new Generation(
        text.toString(),
        sequence.request().promptIds(),
        Arrays.copyOf(sequence.tokens(), numTaken),
        Arrays.copyOf(sequence.logProbabilities(), numTaken),
        finishReason);
  }

  @Override
  public void close() {
    sequence.close();
  }
}
