package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * What ranks and the driver exchange once a step when ranks evaluate the gates themselves: up go
 * load counts and gate gradients, down comes a snapshot of the new weights and selection biases. L
 * MoE layers, E experts, D model width.
 *
 * <p>A report is L*E load counts (8 bytes) and L blocks of E*D gradients; a snapshot is L weights
 * (E*D) and L biases (E), all little-endian, in layer order.
 */
final class GateExchange {

  /** A part of GATE frames that no gate call uses: calls count up from zero. */
  private static final int REPORT = Integer.MAX_VALUE;

  /** Another one. */
  private static final int SNAPSHOT = Integer.MAX_VALUE - 1;

  private GateExchange() {}

  /** Key of a rank's report, which the coordinator waits for. */
  static FrameKey reportKey(int step) {
    return new FrameKey(FrameKind.GATE, step, REPORT, 0);
  }

  private static FrameKey snapshotKey(int step) {
    return new FrameKey(FrameKind.GATE, step, SNAPSHOT, 0);
  }

  /** Sends this rank's loads (L, E) and its gate gradients. */
  static void sendReport(Communicator communicator, int step, long[][] loads, Parameters gates) {
    List<ByteBuffer> parts = new ArrayList<>();
    int numExperts = loads.length == 0 ? 0 : loads[0].length;
    ByteBuffer counts =
        ByteBuffer.allocate(loads.length * numExperts * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (long[] load : loads) {
      for (long tokens : load) {
        counts.putLong(tokens);
      }
    }
    parts.add(counts.flip());
    for (ParameterBlock block : gates.blocks(Part.GATE)) {
      parts.add(block.gradient().bytes().duplicate());
    }
    communicator.send(Communicator.DRIVER, reportKey(step), parts.toArray(new ByteBuffer[0]));
  }

  /**
   * Reads a report.
   *
   * @param loads (L, E), added to
   * @param gradients a block for each MoE layer, overwritten
   */
  static void readReport(ByteBuffer payload, long[][] loads, List<Tensor> gradients) {
    long expected = 0;
    for (long[] load : loads) {
      expected += (long) load.length * Long.BYTES;
    }
    for (Tensor gradient : gradients) {
      expected += gradient.sizeBytes();
    }
    requireSize("gate report", payload, expected);
    for (long[] load : loads) {
      for (int e = 0; e < load.length; e++) {
        load[e] += payload.getLong();
      }
    }
    for (Tensor gradient : gradients) {
      read(payload, gradient);
    }
  }

  /** Sends the driver's weights and selection biases to a rank. */
  static void sendSnapshot(Communicator communicator, int to, int step, Parameters gates) {
    List<ByteBuffer> parts = new ArrayList<>();
    for (Tensor tensor : snapshotTensors(gates)) {
      parts.add(tensor.bytes().duplicate());
    }
    communicator.send(to, snapshotKey(step), parts.toArray(new ByteBuffer[0]));
  }

  /** Replaces this rank's weights and selection biases by the driver's. */
  static void receiveSnapshot(Communicator communicator, int step, Parameters gates) {
    ByteBuffer payload = communicator.receive(Communicator.DRIVER, snapshotKey(step));
    List<Tensor> tensors = snapshotTensors(gates);
    requireSize("gate snapshot", payload, tensors.stream().mapToLong(Tensor::sizeBytes).sum());
    tensors.forEach(tensor -> read(payload, tensor));
  }

  private static List<Tensor> snapshotTensors(Parameters gates) {
    List<Tensor> tensors = new ArrayList<>();
    gates.blocks(Part.GATE).forEach(block -> tensors.add(block.value()));
    ModelConfig model = gates.config();
    for (int layer = 0; layer < model.numLayers(); layer++) {
      if (model.isMoe(layer)) {
        tensors.add(gates.find(Parameters.selectionBiasName(layer)).value());
      }
    }
    return tensors;
  }

  private static void read(ByteBuffer payload, Tensor tensor) {
    int length = Math.toIntExact(tensor.sizeBytes());
    tensor.bytes().duplicate().put(payload.slice(payload.position(), length));
    payload.position(payload.position() + length);
  }

  private static void requireSize(String what, ByteBuffer payload, long expected) {
    if (payload.remaining() != expected) {
      throw new IllegalStateException(
          what
              + " has "
              + payload.remaining()
              + " bytes, this model needs "
              + expected
              + "; do driver and executors run the same version and config?");
    }
  }
}
