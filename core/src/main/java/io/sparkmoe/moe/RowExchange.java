package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.RowCodec;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.function.IntFunction;
import java.util.function.IntUnaryOperator;

/**
 * The two ways of a token's row: out to the ranks of its experts, where rows of all sources are
 * assembled, and home again, where they are added up. Both directions of training use both.
 *
 * <p>Legend: T tokens of this rank, A tokens that arrived here, D model width.
 */
final class RowExchange {

  private final Communicator communicator;
  private final Kernels kernels;
  private final int rank;
  private final int numRanks;

  RowExchange(Communicator communicator, Kernels kernels) {
    this.communicator = communicator;
    this.kernels = kernels;
    this.rank = communicator.rank();
    this.numRanks = communicator.size();
  }

  /** The rank after that one, going round. */
  int next(int other) {
    return (other + 1) % numRanks;
  }

  /** Who sent which frame, for messages. */
  String senderOf(int from, FrameKey key) {
    return communicator.describe(from) + ": its " + key;
  }

  /**
   * One row of every token that arrived here, rounded as its wire rounds.
   *
   * @param own all tokens of this rank, (T, D)
   * @param encoded the same, encoded
   * @param frames from each other rank, null where nothing came
   * @param rowsAt offset of the first row in each frame
   * @param result owns the result
   * @param scratch owns what only this call needs
   * @return (A, D)
   */
  Tensor assemble(
      RowCodec codec,
      Tensor own,
      Tensor encoded,
      SendPlan plan,
      Arrivals.Layout layout,
      ByteBuffer[] frames,
      int[] rowsAt,
      Allocator result,
      Scope scratch) {
    if (numRanks == 1 && codec.isLossless()) {
      return own;
    }
    Tensor arrived = result.allocate(own.type(), layout.numTokens(), own.cols());
    for (int from = 0; from < numRanks; from++) {
      Tensor rows = layout.ofSource(arrived, from);
      try (Scope inner = scratch.inner()) {
        if (frames[from] != null) {
          codec.decode(rows, frames[from], rowsAt[from], inner);
        } else if (from == rank && rows.size() > 0) {
          if (codec.isLossless()) {
            kernels.gatherRows(rows, own, plan.tokensTo(rank));
          } else {
            codec.decode(
                rows, codec.gatherEncoded(encoded, plan.tokensTo(rank), inner).bytes(), 0, inner);
          }
        }
      }
    }
    return arrived;
  }

  /** Sends each source the rows of its tokens, with a head before them. */
  void sendHome(
      FrameKey key,
      RowCodec codec,
      Tensor partial,
      Arrivals.Layout layout,
      IntFunction<ByteBuffer> head,
      Scope scratch) {
    for (int to = next(rank); to != rank; to = next(to)) {
      if (layout.numTokens(to) > 0) {
        Tensor rows = codec.encode(layout.ofSource(partial, to), scratch);
        communicator.send(to, key, head.apply(to), rows.bytes());
      }
    }
  }

  /**
   * The frames that come home to this rank, checked for size; null where none comes.
   *
   * @param headBytes bytes before the rows of the frame from that rank
   */
  ByteBuffer[] receiveHome(
      FrameKey key, RowCodec codec, SendPlan plan, IntUnaryOperator headBytes) {
    ByteBuffer[] frames = new ByteBuffer[numRanks];
    for (int from = 0; from < numRanks; from++) {
      if (from != rank && plan.numTokens(from) > 0) {
        frames[from] =
            receive(
                from,
                key,
                headBytes.applyAsInt(from) + (long) plan.numTokens(from) * codec.rowBytes());
      }
    }
    return frames;
  }

  /**
   * {@code sum[token] += row} for the rows that came home, in rank order.
   *
   * @param sum (T, D), added to
   * @param partial what this rank's experts give, (A, D); its own tokens' rows are rounded in place
   */
  void addHome(
      RowCodec codec,
      Tensor sum,
      Tensor partial,
      Arrivals.Layout layout,
      SendPlan plan,
      ByteBuffer[] frames,
      IntUnaryOperator headBytes,
      Scope scratch) {
    for (int from = 0; from < numRanks; from++) {
      if (plan.numTokens(from) == 0) {
        continue;
      }
      try (Scope inner = scratch.inner()) {
        Tensor rows;
        if (from == rank) {
          rows = layout.ofSource(partial, rank);
          if (!codec.isLossless()) {
            codec.decode(rows, codec.encode(rows, inner).bytes(), 0, inner);
          }
        } else {
          rows = inner.allocate(sum.type(), plan.numTokens(from), sum.cols());
          codec.decode(rows, frames[from], headBytes.applyAsInt(from), inner);
        }
        kernels.scatterAddRows(sum, rows, plan.tokensTo(from));
      }
    }
  }

  /** Waits for a frame whose size is known. */
  ByteBuffer receive(int from, FrameKey key, long expectedBytes) {
    ByteBuffer frame = communicator.receive(from, key);
    if (frame.remaining() != expectedBytes) {
      throw DispatchFrame.corrupt(senderOf(from, key), expectedBytes + " bytes", frame.remaining());
    }
    return frame;
  }
}
