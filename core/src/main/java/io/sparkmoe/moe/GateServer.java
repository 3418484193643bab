package io.sparkmoe.moe;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Communicator.Frame;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.RowCodec;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Answers the ranks' gate questions on the driver. Every rank has a gate of its own, with its own
 * gradient buffer, so that ranks are served side by side and gradients can be added in rank order,
 * whatever order the questions come in. A training site's hidden states are kept until its backward
 * was answered, an evaluation site's until its forward was. T tokens, B sequences, D model width, K
 * experts of a token.
 */
public final class GateServer implements AutoCloseable {

  private final Communicator communicator;
  private final List<Gate> gates;
  private final int topK;
  private final int width;
  private final DType element;
  private final List<RowCodec> hiddenCodecs;
  private final Arena arena;
  private final List<Map<GateSite, Open>> open = new ArrayList<>();

  /** A training site between its forward and its backward. */
  private record Open(int numTokens, Scope scope) {}

  /**
   * @param communicator the driver's end
   * @param gates one for each rank, by rank; they share weights but no gradients
   * @param topK K
   * @param width D
   * @param element type of hidden states and weights
   * @param hiddenCodecs how each rank's hidden states arrive, by rank
   * @param arena owns hidden states and what the gates save
   */
  public GateServer(
      Communicator communicator,
      List<? extends Gate> gates,
      int topK,
      int width,
      DType element,
      List<RowCodec> hiddenCodecs,
      Arena arena) {
    if (gates.size() != communicator.size()) {
      throw new IllegalArgumentException(
          "the gate server needs one gate for each of "
              + communicator.size()
              + " ranks, got "
              + gates.size());
    }
    this.communicator = communicator;
    this.gates = List.copyOf(gates);
    this.topK = topK;
    this.width = width;
    this.element = element;
    this.hiddenCodecs = List.copyOf(hiddenCodecs);
    this.arena = arena;
    gates.forEach(gate -> open.add(new HashMap<>()));
  }

  /**
   * Answers one question. Calls for one rank come from one thread; ranks may be served by threads
   * of their own.
   *
   * @param frame of kind {@link FrameKind#GATE}, as {@link RemoteGate} sends it
   * @throws CorruptFrameException when the frame contradicts itself or the config
   */
  public void handle(int fromRank, Frame frame) {
    if (frame.key().kind() != FrameKind.GATE) {
      throw new IllegalArgumentException("the gate server handles gate frames, got " + frame.key());
    }
    if (GateProtocol.isForward(frame.key())) {
      forward(fromRank, frame.key(), frame.payload());
    } else {
      backward(fromRank, frame.key(), frame.payload());
    }
  }

  /**
   * Drops what unfinished sites hold, after a failure; call it when no thread handles frames any
   * more.
   */
  @Override
  public void close() {
    for (Map<GateSite, Open> sites : open) {
      sites.values().forEach(site -> site.scope().close());
      sites.clear();
    }
  }

  private void forward(int rank, FrameKey key, ByteBuffer question) {
    if (question.remaining() < GateProtocol.FORWARD_HEAD_BYTES) {
      throw corrupt(
          rank,
          key,
          "at least " + GateProtocol.FORWARD_HEAD_BYTES + " bytes",
          question.remaining());
    }
    boolean training = question.get(0) != 0;
    int numTokens = question.getInt(1);
    int numSequences = question.getInt(1 + Integer.BYTES);
    if (numTokens < 0
        || numSequences < 0
        || (numSequences == 0 ? numTokens != 0 : numTokens % numSequences != 0)) {
      throw corrupt(
          rank, key, "sequences of equal length, " + numTokens + " tokens in all", numSequences);
    }
    int validAt = GateProtocol.FORWARD_HEAD_BYTES;
    RowCodec codec = hiddenCodecs.get(rank);
    long xBytes = (long) numTokens * codec.rowBytes();
    long expectedBytes = validAt + (long) numSequences * Integer.BYTES + xBytes;
    if (question.remaining() != expectedBytes) {
      throw corrupt(rank, key, expectedBytes + " bytes", question.remaining());
    }
    GateSite site = GateProtocol.site(key, training);
    Scope scope = arena.scope();
    boolean kept = false;
    try {
      Tensor valid = scope.allocate(DType.I32, numSequences);
      valid.bytes().put(0, question, validAt, numSequences * Integer.BYTES);
      checkValid(rank, key, valid, numTokens);
      Tensor x = scope.allocate(element, numTokens, width);
      codec.decode(x, question, validAt + numSequences * Integer.BYTES, scope);
      Routing routing = gates.get(rank).route(site, x, valid, scope).await();
      if (training) {
        open.get(rank).put(site, new Open(numTokens, scope));
        kept = true;
      }
      communicator.send(rank, key, decision(routing), routing.weights().bytes());
    } finally {
      if (!kept) {
        scope.close();
      }
    }
  }

  private void backward(int rank, FrameKey key, ByteBuffer question) {
    GateSite site = GateProtocol.site(key, true);
    Open forward = open.get(rank).remove(site);
    if (forward == null) {
      throw new IllegalStateException(
          communicator.describe(rank)
              + " asks for the gate's backward at "
              + site
              + ", which had no forward");
    }
    try (Scope scope = forward.scope()) {
      int weightBytes = forward.numTokens() * topK * element.sizeBytes();
      if (question.remaining() != Double.BYTES + weightBytes) {
        throw corrupt(rank, key, (Double.BYTES + weightBytes) + " bytes", question.remaining());
      }
      Tensor dWeights = scope.allocate(element, forward.numTokens(), topK);
      dWeights.bytes().put(0, question, Double.BYTES, weightBytes);
      Tensor dx = scope.zeros(element, forward.numTokens(), width);
      gates.get(rank).backward(site, dx, dWeights, question.getDouble(0)).await();
      communicator.send(rank, key, dx.bytes());
    }
  }

  private void checkValid(int rank, FrameKey key, Tensor valid, int numTokens) {
    for (int b = 0; b < valid.size(); b++) {
      int length = numTokens / valid.size();
      if (valid.getInt(b) < 0 || valid.getInt(b) > length) {
        throw corrupt(
            rank, key, "0 to " + length + " valid tokens in sequence " + b, valid.getInt(b));
      }
    }
  }

  /** Balance loss and ids; the weights follow from their own memory. */
  private static ByteBuffer decision(Routing routing) {
    Tensor ids = routing.ids();
    ByteBuffer decision =
        ByteBuffer.allocate(Double.BYTES + ids.size() * Short.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    decision.putDouble(routing.balanceLoss());
    for (int i = 0; i < ids.size(); i++) {
      decision.putShort((short) ids.getInt(i));
    }
    return decision.flip();
  }

  private CorruptFrameException corrupt(int rank, FrameKey key, String expected, long actual) {
    return new CorruptFrameException(
        communicator.describe(rank)
            + ": its "
            + key
            + " must hold "
            + expected
            + ", got "
            + actual
            + "; do driver and ranks run the same config and version?");
  }
}
