package io.sparkmoe.distill.dl4j;

import java.util.Arrays;
import java.util.List;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * How a network takes tokens and gives distributions.
 *
 * <p>Legend: B sequences, T steps, C vocabulary of the network.
 *
 * @param input layout of what it takes
 * @param output layout of what it gives
 * @param vocabSize C
 */
record SequenceFormat(Input input, Output output, int vocabSize) {

  /** Sequences of one length that are worked on together. */
  private static final int BATCH = 16;

  /** Steps of the probe: unlike any vocabulary in use. */
  private static final int PROBE_STEPS = 3;

  /** Probabilities of a softmax in single precision add up to 1 within this. */
  private static final double SUM_TOLERANCE = 1e-2;

  enum Input {
    /** One-hot rows (B, C, T), DL4J's own layout. */
    ONE_HOT_TIME_LAST,
    /** One-hot rows (B, T, C), Keras's layout. */
    ONE_HOT_CHANNELS_LAST,
    /** Ids (B, 1, T), for an embedding. */
    IDS_OF_ONE_CHANNEL,
    /** Ids (B, T), for an embedding. */
    IDS
  }

  enum Output {
    /** (B, C, T), DL4J's own layout. */
    TIME_LAST,
    /** (B, T, C). */
    CHANNELS_LAST,
    /** (T, C) for one sequence, of a last layer that knows no time; of several, in DL4J's order. */
    ROWS;

    /** The layout of an output for the probe, or null. */
    private static Output of(long[] shape, int vocabSize) {
      if (Arrays.equals(shape, new long[] {1, vocabSize, PROBE_STEPS})) {
        return TIME_LAST;
      }
      if (Arrays.equals(shape, new long[] {1, PROBE_STEPS, vocabSize})) {
        return CHANNELS_LAST;
      }
      return Arrays.equals(shape, new long[] {PROBE_STEPS, vocabSize}) ? ROWS : null;
    }
  }

  /** How many sequences the network may be given at a time. */
  int batch() {
    return output == Output.ROWS ? 1 : BATCH;
  }

  /**
   * Finds out by trying, as neither file says it in one place.
   *
   * @param tokenizerSize ids of the tokenizer; the network may lack the last ones, the special ones
   *     that it never saw
   * @throws IllegalArgumentException when no layout gives a distribution over the tokens
   */
  static SequenceFormat probe(Network network, int tokenizerSize, int numSpecial) {
    String last = "no layout of its input fits";
    for (int vocabSize = tokenizerSize; vocabSize >= tokenizerSize - numSpecial; vocabSize--) {
      for (Input input : Input.values()) {
        INDArray given;
        try {
          SequenceFormat asked = new SequenceFormat(input, Output.TIME_LAST, vocabSize);
          given = network.output(asked.encode(List.of(new int[PROBE_STEPS])));
        } catch (RuntimeException e) { // DL4J throws many kinds where a shape does not fit
          continue;
        }
        Output output = Output.of(given.shape(), vocabSize);
        if (output == null) {
          last = "its output has the shape " + Arrays.toString(given.shape());
          continue;
        }
        SequenceFormat found = new SequenceFormat(input, output, vocabSize);
        double sum = 0;
        for (float p : found.decode(given)[0][0]) {
          sum += p;
        }
        if (Math.abs(sum - 1) <= SUM_TOLERANCE) {
          return found;
        }
        last = "its output adds up to " + sum + " over the tokens, it does not end in a softmax";
      }
    }
    throw new IllegalArgumentException(
        "teacher is no language model over "
            + tokenizerSize
            + " tokens ("
            + last
            + "), expected a distribution over the tokenizer's ids at every step; give its own"
            + " --tokenizer");
  }

  /** Sequences of one length as the network takes them. */
  INDArray encode(List<int[]> sequences) {
    int b = sequences.size();
    int t = sequences.get(0).length;
    INDArray array =
        switch (input) {
          case ONE_HOT_TIME_LAST -> Nd4j.zeros(DataType.FLOAT, b, vocabSize, t);
          case ONE_HOT_CHANNELS_LAST -> Nd4j.zeros(DataType.FLOAT, b, t, vocabSize);
          case IDS_OF_ONE_CHANNEL -> Nd4j.zeros(DataType.FLOAT, b, 1, t);
          case IDS -> Nd4j.zeros(DataType.FLOAT, b, t);
        };
    for (int i = 0; i < b; i++) {
      for (int s = 0; s < t; s++) {
        int id = sequences.get(i)[s];
        switch (input) {
          case ONE_HOT_TIME_LAST -> array.putScalar(new long[] {i, id, s}, 1);
          case ONE_HOT_CHANNELS_LAST -> array.putScalar(new long[] {i, s, id}, 1);
          case IDS_OF_ONE_CHANNEL -> array.putScalar(new long[] {i, 0, s}, id);
          case IDS -> array.putScalar(new long[] {i, s}, id);
        }
      }
    }
    return array;
  }

  /** Probabilities [B][T][C] of an output. */
  float[][][] decode(INDArray given) {
    INDArray rows =
        switch (output) {
          case TIME_LAST -> given.permute(0, 2, 1);
          case CHANNELS_LAST -> given;
          case ROWS -> given.reshape(1, given.size(0), given.size(1));
        };
    int b = (int) rows.size(0);
    int t = (int) rows.size(1);
    float[] flat = rows.castTo(DataType.FLOAT).dup('c').data().asFloat();
    float[][][] probabilities = new float[b][t][];
    for (int i = 0; i < b; i++) {
      for (int s = 0; s < t; s++) {
        int start = (i * t + s) * vocabSize;
        probabilities[i][s] = Arrays.copyOfRange(flat, start, start + vocabSize);
      }
    }
    return probabilities;
  }
}
