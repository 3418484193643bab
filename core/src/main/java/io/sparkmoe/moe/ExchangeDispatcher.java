package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.layer.ExpertRows;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.RowCodec;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.IntUnaryOperator;

/**
 * Token exchange between the ranks of a {@link Communicator}, one of them included. Every rank
 * sends to its successors first (rank + 1, rank + 2, ...), so that no rank is everybody's first
 * target. Rows that come back are added in rank order, whatever order they arrive in.
 *
 * <p>A token that stays on its rank never becomes a frame. With a lossy wire it is rounded all the
 * same, in both directions: what an expert sees must not depend on where it lives, or the same run
 * on another number of ranks would be another run. With FP32 wires the single rank hands its tokens
 * to its experts and does nothing else.
 *
 * <p>Legend: T tokens of this rank, A tokens that arrived here, R (token, expert) pairs that landed
 * here, D model width, K experts of a token.
 */
public final class ExchangeDispatcher implements TokenDispatcher {

  private final Communicator communicator;
  private final ExpertPlacement placement;
  private final Kernels kernels;
  private final Wire dispatchWire;
  private final Wire combineWire;
  private final int rank;
  private final int numRanks;
  private final Arrivals arrivals;
  private final RowExchange rows;

  /** Codecs for the element type and width seen last; they change only between models. */
  private Formats formats;

  private record Formats(
      DType element, int columns, RowCodec dispatch, RowCodec combine, DispatchFrame frame) {}

  /**
   * @param communicator a rank's end
   * @param placement the same on every rank
   * @param dispatchWire format of hidden states to the experts and of their gradients back
   * @param combineWire format of expert outputs back and of their gradients there
   */
  public ExchangeDispatcher(
      Communicator communicator,
      ExpertPlacement placement,
      Kernels kernels,
      Wire dispatchWire,
      Wire combineWire) {
    if (communicator.size() != placement.numRanks()) {
      throw new IllegalArgumentException(
          "experts are placed on "
              + placement.numRanks()
              + " ranks, the communicator has "
              + communicator.size());
    }
    if (placement.numExperts() >= DispatchFrame.MAX_EXPERTS) {
      throw new IllegalArgumentException(
          "a layer must have fewer than "
              + DispatchFrame.MAX_EXPERTS
              + " experts, got "
              + placement.numExperts());
    }
    this.communicator = communicator;
    this.placement = placement;
    this.kernels = kernels;
    this.dispatchWire = dispatchWire;
    this.combineWire = combineWire;
    this.rank = communicator.rank();
    this.numRanks = communicator.size();
    this.rows = new RowExchange(communicator, kernels);
    this.arrivals = new Arrivals(numRanks, placement.numLocalExperts(rank));
  }

  /** One exchange: what went out, what came in, and what was acknowledged. */
  private static final class Exchange implements Dispatched {
    private final SendPlan plan;
    private final Arrivals.Layout layout;
    private final Tensor tokens;
    private final Formats formats;
    private long acknowledgedPairs;

    Exchange(SendPlan plan, Arrivals.Layout layout, Tensor tokens, Formats formats) {
      this.plan = plan;
      this.layout = layout;
      this.tokens = tokens;
      this.formats = formats;
    }

    @Override
    public Tensor tokens() {
      return tokens;
    }

    @Override
    public ExpertRows rows() {
      return layout.rows();
    }

    @Override
    public long droppedTokens() {
      return plan.numPairs() - acknowledgedPairs;
    }
  }

  @Override
  public Dispatched dispatch(
      GateSite site, Tensor x, Routing routing, Scope saved, Allocator arrived, Scope scratch) {
    Formats formats = formatsFor(x);
    FrameKey key = key(FrameKind.DISPATCH, site);
    SendPlan plan = SendPlan.of(routing.ids(), placement, saved);
    try (Scope inner = scratch.inner()) {
      Tensor encoded = formats.dispatch().encode(x, inner);
      for (int to = rows.next(rank); to != rank; to = rows.next(to)) {
        if (placement.numLocalExperts(to) > 0) {
          Tensor copies = formats.dispatch().gatherEncoded(encoded, plan.tokensTo(to), inner);
          communicator.send(
              to,
              key,
              formats.frame().head(plan, to, placement.firstExpert(to), routing),
              copies.bytes());
        }
      }
      int[] rowsAt = new int[numRanks];
      ByteBuffer[] frames = receiveDispatch(key, plan, routing, formats, rowsAt);
      Arrivals.Layout layout = arrivals.layOut(x.type(), saved);
      Tensor tokens =
          rows.assemble(
              formats.dispatch(), x, encoded, plan, layout, frames, rowsAt, arrived, inner);
      return new Exchange(plan, layout, tokens, formats);
    }
  }

  private ByteBuffer[] receiveDispatch(
      FrameKey key, SendPlan plan, Routing routing, Formats formats, int[] rowsAt) {
    ByteBuffer[] frames = new ByteBuffer[numRanks];
    arrivals.clear();
    for (int from = 0; from < numRanks; from++) {
      if (placement.numLocalExperts(rank) == 0) {
        arrivals.beginSource(0, 0);
      } else if (from == rank) {
        DispatchFrame.addOwn(plan, rank, placement.firstExpert(rank), routing, arrivals);
      } else {
        frames[from] = communicator.receive(from, key);
        rowsAt[from] =
            formats
                .frame()
                .read(
                    frames[from],
                    formats.dispatch().rowBytes(),
                    arrivals,
                    rows.senderOf(from, key));
      }
    }
    return frames;
  }

  /** Whether all tokens stay here as they are, so that experts can work on the tokens' own sums. */
  private boolean staysHere(RowCodec codec) {
    return numRanks == 1 && codec.isLossless();
  }

  @Override
  public Tensor outputs(Dispatched dispatched, Tensor y, Scope scratch) {
    Exchange exchange = (Exchange) dispatched;
    // Summed here first, so that one row of a token goes home however many of its experts live
    // here.
    return staysHere(exchange.formats.combine())
        ? y
        : scratch.zeros(y.type(), exchange.layout.numTokens(), y.cols());
  }

  @Override
  public void combine(
      GateSite site, Dispatched dispatched, Tensor y, Tensor outputs, Scope scratch) {
    Exchange exchange = (Exchange) dispatched;
    Arrivals.Layout layout = exchange.layout;
    RowCodec codec = exchange.formats.combine();
    exchange.acknowledgedPairs += layout.numPairs(rank);
    if (staysHere(codec)) {
      return;
    }
    FrameKey key = key(FrameKind.COMBINE, site);
    try (Scope inner = scratch.inner()) {
      ByteBuffer served = ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      rows.sendHome(
          key, codec, outputs, layout, source -> served.putInt(0, layout.numPairs(source)), inner);
      ByteBuffer[] frames = rows.receiveHome(key, codec, exchange.plan, from -> Integer.BYTES);
      for (int from = 0; from < numRanks; from++) {
        if (frames[from] != null) {
          exchange.acknowledgedPairs +=
              acknowledged(frames[from].getInt(0), exchange.plan.numPairs(from), from, key);
        }
      }
      rows.addHome(codec, y, outputs, layout, exchange.plan, frames, from -> Integer.BYTES, inner);
    }
  }

  private long acknowledged(int pairs, int sent, int from, FrameKey key) {
    if (pairs < 0 || pairs > sent) {
      throw DispatchFrame.corrupt(
          rows.senderOf(from, key),
          "an acknowledgement of at most the " + sent + " pairs sent",
          pairs);
    }
    return pairs;
  }

  @Override
  public Tensor combineBackward(GateSite site, Dispatched dispatched, Tensor dy, Scope scratch) {
    Exchange exchange = (Exchange) dispatched;
    Arrivals.Layout layout = exchange.layout;
    SendPlan plan = exchange.plan;
    RowCodec codec = exchange.formats.combine();
    FrameKey key = key(FrameKind.COMBINE_BACKWARD, site);
    try (Scope inner = scratch.inner()) {
      Tensor encoded = codec.encode(dy, inner);
      for (int to = rows.next(rank); to != rank; to = rows.next(to)) {
        if (plan.numTokens(to) > 0) {
          communicator.send(
              to, key, codec.gatherEncoded(encoded, plan.tokensTo(to), inner).bytes());
        }
      }
      ByteBuffer[] frames = new ByteBuffer[numRanks];
      for (int from = 0; from < numRanks; from++) {
        if (from != rank && layout.numTokens(from) > 0) {
          frames[from] = rows.receive(from, key, (long) layout.numTokens(from) * codec.rowBytes());
        }
      }
      return rows.assemble(
          codec, dy, encoded, plan, layout, frames, new int[numRanks], scratch, inner);
    }
  }

  @Override
  public Tensor tokenGradients(Dispatched dispatched, Tensor dx, Scope scratch) {
    Exchange exchange = (Exchange) dispatched;
    return staysHere(exchange.formats.dispatch())
        ? dx
        : scratch.zeros(dx.type(), exchange.layout.numTokens(), dx.cols());
  }

  @Override
  public void dispatchBackward(
      GateSite site,
      Dispatched dispatched,
      Tensor dx,
      Tensor dWeights,
      Tensor dTokens,
      Tensor dRowWeights,
      Scope scratch) {
    Exchange exchange = (Exchange) dispatched;
    Arrivals.Layout layout = exchange.layout;
    SendPlan plan = exchange.plan;
    RowCodec codec = exchange.formats.dispatch();
    for (int pair = 0; pair < layout.numPairs(rank); pair++) {
      int row = layout.pairRow().getInt(layout.pairStarts()[rank] + pair);
      dWeights.set(plan.slots.getInt(plan.pairStarts[rank] + pair), dRowWeights.get(row));
    }
    if (staysHere(codec)) {
      return;
    }
    FrameKey key = key(FrameKind.DISPATCH_BACKWARD, site);
    int weightBytes = dWeights.type().sizeBytes();
    try (Scope inner = scratch.inner()) {
      rows.sendHome(
          key,
          codec,
          dTokens,
          layout,
          source -> weightGradients(layout, dRowWeights, source, inner).bytes(),
          inner);
      IntUnaryOperator headBytes = from -> plan.numPairs(from) * weightBytes;
      ByteBuffer[] frames = rows.receiveHome(key, codec, plan, headBytes);
      for (int from = 0; from < numRanks; from++) {
        for (int pair = 0; frames[from] != null && pair < plan.numPairs(from); pair++) {
          int at = pair * weightBytes;
          double gradient =
              dWeights.type() == DType.F64 ? frames[from].getDouble(at) : frames[from].getFloat(at);
          dWeights.set(plan.slots.getInt(plan.pairStarts[from] + pair), gradient);
        }
      }
      rows.addHome(codec, dx, dTokens, layout, plan, frames, headBytes, inner);
    }
  }

  /** Gradients of the weights of one source's pairs, in the order it sent them. */
  private static Tensor weightGradients(
      Arrivals.Layout layout, Tensor dRowWeights, int source, Scope scratch) {
    Tensor gradients = scratch.allocate(dRowWeights.type(), layout.numPairs(source));
    for (int pair = 0; pair < gradients.size(); pair++) {
      int row = layout.pairRow().getInt(layout.pairStarts()[source] + pair);
      gradients.set(pair, dRowWeights.get(row));
    }
    return gradients;
  }

  private Formats formatsFor(Tensor x) {
    if (formats == null || formats.element() != x.type() || formats.columns() != x.cols()) {
      formats =
          new Formats(
              x.type(),
              x.cols(),
              new RowCodec(dispatchWire, x.type(), x.cols(), kernels),
              new RowCodec(combineWire, x.type(), x.cols(), kernels),
              new DispatchFrame(placement.numLocalExperts(rank), x.type()));
    }
    return formats;
  }

  private static FrameKey key(FrameKind kind, GateSite site) {
    return new FrameKey(kind, site.step(), site.microBatch(), site.layer());
  }
}
