package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.RowCodec;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;

/**
 * The driver's gating networks as a rank sees them: a question is sent at once and its answer is
 * taken on await, so that the rank can compute meanwhile. {@link GateServer} answers. T tokens, B
 * sequences, D model width, K experts of a token.
 */
public final class RemoteGate implements Gate {

  private final Communicator communicator;
  private final int topK;
  private final Wire hiddenWire;
  private final Kernels kernels;

  /** Scopes of training sites between their forward and their backward. */
  private final Map<GateSite, Scope> open = new HashMap<>();

  /**
   * @param communicator a rank's end
   * @param config of the driver's routers
   * @param hiddenWire format of hidden states to the driver; all else travels as it is
   */
  public RemoteGate(
      Communicator communicator, RouterConfig config, Wire hiddenWire, Kernels kernels) {
    this.communicator = communicator;
    this.topK = config.topK();
    this.hiddenWire = hiddenWire;
    this.kernels = kernels;
  }

  @Override
  public Pending<Routing> route(GateSite site, Tensor x, Tensor valid, Scope scope) {
    FrameKey key = GateProtocol.forwardKey(site);
    int numTokens = x.size() / x.cols();
    ByteBuffer head = littleEndian(GateProtocol.FORWARD_HEAD_BYTES);
    head.put((byte) (site.training() ? 1 : 0)).putInt(numTokens).putInt(valid.size()).flip();
    if (site.training() && open.put(site, scope) != null) {
      throw new IllegalStateException(
          "the gate was asked twice at " + site + "; a training site is asked once");
    }
    try (Scope scratch = scope.inner()) {
      Tensor hidden = new RowCodec(hiddenWire, x.type(), x.cols(), kernels).encode(x, scratch);
      communicator.send(Communicator.DRIVER, key, head, valid.bytes(), hidden.bytes());
    }
    return () -> {
      int pairs = numTokens * topK;
      ByteBuffer answer =
          receive(key, Double.BYTES + (long) pairs * (Short.BYTES + x.type().sizeBytes()));
      Tensor ids = scope.allocate(DType.I32, numTokens, topK);
      for (int i = 0; i < pairs; i++) {
        ids.setInt(i, answer.getShort(Double.BYTES + i * Short.BYTES) & 0xFFFF);
      }
      Tensor weights = scope.allocate(x.type(), numTokens, topK);
      weights.bytes().put(0, answer, Double.BYTES + pairs * Short.BYTES, (int) weights.sizeBytes());
      return new Routing(ids, weights, answer.getDouble(0));
    };
  }

  @Override
  public Pending<Void> backward(
      GateSite site, Tensor dx, Tensor dWeights, double balanceGradientScale) {
    FrameKey key = GateProtocol.backwardKey(site);
    Scope scope = open.remove(site);
    if (scope == null) {
      throw new IllegalStateException(
          "the gate has no forward at " + site + "; route with training first");
    }
    ByteBuffer head = littleEndian(Double.BYTES).putDouble(balanceGradientScale).flip();
    communicator.send(Communicator.DRIVER, key, head, dWeights.bytes());
    return () -> {
      ByteBuffer answer = receive(key, dx.sizeBytes());
      try (Scope scratch = scope.inner()) {
        Tensor share = scratch.allocate(dx.type(), dx.shape());
        share.bytes().put(0, answer, 0, (int) share.sizeBytes());
        kernels.add(dx, share);
      }
      return null;
    };
  }

  /** The driver keeps hidden states and scores. */
  @Override
  public boolean keepsElsewhere() {
    return true;
  }

  private ByteBuffer receive(FrameKey key, long expectedBytes) {
    ByteBuffer answer = communicator.receive(Communicator.DRIVER, key);
    if (answer.remaining() != expectedBytes) {
      throw new CorruptFrameException(
          communicator.describe(Communicator.DRIVER)
              + ": its answer to "
              + key
              + " must hold "
              + expectedBytes
              + " bytes, got "
              + answer.remaining()
              + "; do driver and ranks run the same config and version?");
    }
    return answer;
  }

  private static ByteBuffer littleEndian(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
