package io.sparkmoe.train;

import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.RowSource;
import io.sparkmoe.data.TokenRow;
import java.util.List;
import java.util.SplittableRandom;

/** Uniformly random tokens, for benchmarks; the same for any number of ranks. */
public final class SyntheticRows implements RowSource {

  private final RowOrder order;
  private final int seqLen;
  private final int vocabSize;
  private final int rank;
  private final int numRanks;

  /**
   * @param train batch, sequence length and seed
   */
  public SyntheticRows(TrainConfig train, int vocabSize, int rank, int numRanks) {
    this.order = new RowOrder(1, train.batchSequences(), train.seed());
    this.seqLen = train.seqLen();
    this.vocabSize = vocabSize;
    this.rank = rank;
    this.numRanks = numRanks;
  }

  @Override
  public List<TokenRow> rowsOf(int step) {
    return order.positionsOf(step, rank, numRanks).mapToObj(this::rowAt).toList();
  }

  private TokenRow rowAt(long position) {
    SplittableRandom random = new SplittableRandom(order.seed() ^ position);
    int[] tokens = random.ints(seqLen + 1L, 0, vocabSize).toArray();
    return new TokenRow(position, tokens, new int[] {0}, tokens.length, "random");
  }
}
