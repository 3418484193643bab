package io.sparkmoe.data;

import java.util.Iterator;
import java.util.List;

/**
 * Rows of a rank from a stream in training order, read as the steps go by. What lies before the
 * asked step is skipped, so a resumed attempt may start later than the stream does; steps must
 * ascend.
 */
public final class StreamedRowSource implements RowSource {

  private final Iterator<PositionedRow> stream;
  private final RowOrder order;
  private final int rank;
  private final int numRanks;
  private int lastStep;

  /**
   * @param stream this rank's rows, positions ascending
   */
  public StreamedRowSource(Iterator<PositionedRow> stream, RowOrder order, int rank, int numRanks) {
    this.stream = stream;
    this.order = order;
    this.rank = rank;
    this.numRanks = numRanks;
  }

  @Override
  public List<TokenRow> rowsOf(int step) {
    if (step <= lastStep) {
      throw new IllegalStateException(
          "rows are streamed in step order: step " + step + " asked after step " + lastStep);
    }
    lastStep = step;
    return order.positionsOf(step, rank, numRanks).mapToObj(this::rowAt).toList();
  }

  private TokenRow rowAt(long position) {
    while (stream.hasNext()) {
      PositionedRow next = stream.next();
      if (next.position() == position) {
        return next.row();
      }
      if (next.position() > position) {
        throw missing(position, "the next one is " + next.position());
      }
    }
    throw missing(position, "the stream has ended");
  }

  private IllegalStateException missing(long position, String found) {
    return new IllegalStateException(
        "training row at position "
            + position
            + " is missing on rank "
            + rank
            + " of "
            + numRanks
            + ": "
            + found
            + "; was the dataset changed during the run?");
  }
}
