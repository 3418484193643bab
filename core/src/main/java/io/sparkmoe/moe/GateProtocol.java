package io.sparkmoe.moe;

import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;

/**
 * What {@link RemoteGate} and {@link GateServer} say to each other, in gate frames, little-endian.
 * Request and answer of a site have the same key; part is twice the micro-batch for the forward,
 * one more for the backward. Elements are never rounded. {@link ExchangeDispatcher} refuses layers
 * whose expert ids do not fit a u16, and checks the ids that come.
 *
 * <p>T tokens, B sequences, D model width, K experts of a token.
 *
 * <pre>
 * forward   request   training (u8), T (i32), B (i32), valid (B i32), x (T*D elements)
 *           answer    balance loss (f64), ids (T*K u16), weights (T*K elements)
 * backward  request   balance gradient scale (f64), gradient of the weights (T*K elements)
 *           answer    gradient of x (T*D elements)
 * </pre>
 */
final class GateProtocol {

  /** Bytes of a forward request before valid. */
  static final int FORWARD_HEAD_BYTES = 1 + 2 * Integer.BYTES;

  private GateProtocol() {}

  static FrameKey forwardKey(GateSite site) {
    return new FrameKey(FrameKind.GATE, site.step(), 2 * site.microBatch(), site.layer());
  }

  static FrameKey backwardKey(GateSite site) {
    return new FrameKey(FrameKind.GATE, site.step(), 2 * site.microBatch() + 1, site.layer());
  }

  static boolean isForward(FrameKey key) {
    return (key.part() & 1) == 0;
  }

  static GateSite site(FrameKey key, boolean training) {
    return new GateSite(key.step(), key.part() >> 1, key.layer(), training);
  }
}
