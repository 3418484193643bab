package io.sparkmoe.moe;

import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The payload of a dispatch frame, little-endian: number of tokens N (i32), number of pairs M
 * (i32), experts of each token (N u16), local expert of each pair (M u16, ascending within a
 * token), weight of each pair (M elements, never rounded), then N encoded rows.
 */
final class DispatchFrame {

  /** Local experts and counts travel as u16. */
  static final int MAX_EXPERTS = 1 << 16;

  private static final int FIXED_BYTES = 2 * Integer.BYTES;

  private final int numLocalExperts;
  private final DType element;
  private ByteBuffer scratch = ByteBuffer.allocateDirect(0);

  /**
   * @param numLocalExperts experts of this rank, for what it receives
   * @param element type of the weights
   */
  DispatchFrame(int numLocalExperts, DType element) {
    this.numLocalExperts = numLocalExperts;
    this.element = element;
  }

  /**
   * Everything before the rows; valid until the next call.
   *
   * @param firstExpert first expert id of the destination
   */
  ByteBuffer head(SendPlan plan, int rank, int firstExpert, Routing routing) {
    int numTokens = plan.numTokens(rank);
    int numPairs = plan.numPairs(rank);
    ByteBuffer head = scratch(headBytes(numTokens, numPairs));
    head.putInt(numTokens).putInt(numPairs);
    int topK = routing.ids().dim(1);
    int firstPair = plan.pairStarts[rank];
    for (int pair = 0; pair < numPairs; ) {
      int token = plan.slots.getInt(firstPair + pair) / topK;
      int end = pair + 1;
      while (end < numPairs && plan.slots.getInt(firstPair + end) / topK == token) {
        end++;
      }
      head.putShort((short) (end - pair));
      pair = end;
    }
    for (int pair = 0; pair < numPairs; pair++) {
      head.putShort(
          (short) (routing.ids().getInt(plan.slots.getInt(firstPair + pair)) - firstExpert));
    }
    for (int pair = 0; pair < numPairs; pair++) {
      double weight = routing.weights().get(plan.slots.getInt(firstPair + pair));
      if (element == DType.F64) {
        head.putDouble(weight);
      } else {
        head.putFloat((float) weight);
      }
    }
    return head.flip();
  }

  /**
   * Checks a received frame and adds its pairs to the arrivals.
   *
   * @param sender for messages: who sent which frame
   * @return offset of the first encoded row, in bytes
   * @throws CorruptFrameException when the bytes contradict themselves or name an expert that is
   *     not here
   */
  int read(ByteBuffer frame, int rowBytes, Arrivals arrivals, String sender) {
    if (frame.remaining() < FIXED_BYTES) {
      throw corrupt(sender, "at least " + FIXED_BYTES + " bytes", frame.remaining());
    }
    int numTokens = frame.getInt(0);
    int numPairs = frame.getInt(Integer.BYTES);
    if (numTokens < 0 || numPairs < numTokens || numPairs > (long) numTokens * numLocalExperts) {
      throw corrupt(
          sender,
          "1 to " + numLocalExperts + " pairs for each of its " + numTokens + " tokens",
          numPairs);
    }
    long expected = headBytes((long) numTokens, numPairs) + (long) numTokens * rowBytes;
    if (frame.remaining() != expected) {
      throw corrupt(sender, expected + " bytes", frame.remaining());
    }

    int countsAt = FIXED_BYTES;
    int expertsAt = countsAt + numTokens * Short.BYTES;
    int weightsAt = expertsAt + numPairs * Short.BYTES;
    arrivals.beginSource(numTokens, numPairs);
    int pair = 0;
    for (int token = 0; token < numTokens; token++) {
      int count = frame.getShort(countsAt + token * Short.BYTES) & 0xFFFF;
      if (count < 1 || count > numPairs - pair) {
        throw corrupt(sender, "1 to " + (numPairs - pair) + " experts for token " + token, count);
      }
      int last = -1;
      for (int end = pair + count; pair < end; pair++) {
        int expert = frame.getShort(expertsAt + pair * Short.BYTES) & 0xFFFF;
        if (expert <= last || expert >= numLocalExperts) {
          throw corrupt(
              sender, "local experts of a token ascending in [0, " + numLocalExperts + ")", expert);
        }
        last = expert;
        int at = weightsAt + pair * element.sizeBytes();
        arrivals.setPair(
            pair, token, expert, element == DType.F64 ? frame.getDouble(at) : frame.getFloat(at));
      }
    }
    if (pair != numPairs) {
      throw corrupt(sender, numPairs + " pairs over all tokens", pair);
    }
    return Math.toIntExact(headBytes((long) numTokens, numPairs));
  }

  /** Adds the pairs that stay on this rank to the arrivals. */
  static void addOwn(SendPlan plan, int rank, int firstExpert, Routing routing, Arrivals arrivals) {
    int numPairs = plan.numPairs(rank);
    int topK = routing.ids().dim(1);
    arrivals.beginSource(plan.numTokens(rank), numPairs);
    int token = -1;
    int lastToken = -1;
    for (int pair = 0; pair < numPairs; pair++) {
      int slot = plan.slots.getInt(plan.pairStarts[rank] + pair);
      if (slot / topK != lastToken) {
        lastToken = slot / topK;
        token++;
      }
      arrivals.setPair(
          pair, token, routing.ids().getInt(slot) - firstExpert, routing.weights().get(slot));
    }
  }

  private int headBytes(int numTokens, int numPairs) {
    return Math.toIntExact(headBytes((long) numTokens, numPairs));
  }

  private long headBytes(long numTokens, long numPairs) {
    return FIXED_BYTES + numTokens * Short.BYTES + numPairs * (Short.BYTES + element.sizeBytes());
  }

  private ByteBuffer scratch(int bytes) {
    if (scratch.capacity() < bytes) {
      scratch = ByteBuffer.allocateDirect(bytes + bytes / 2).order(ByteOrder.LITTLE_ENDIAN);
    }
    return scratch.clear().limit(bytes);
  }

  static CorruptFrameException corrupt(String sender, String expected, long actual) {
    return new CorruptFrameException(
        sender
            + " must hold "
            + expected
            + ", got "
            + actual
            + "; do all ranks run the same config and version?");
  }
}
