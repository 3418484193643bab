package io.sparkmoe.parallel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A frame's bytes on the wire, little-endian: kind (u8, ordinal of {@link FrameKind}), step (i32),
 * part (i32), layer (i32), payload length in bytes (i32), payload. Nothing read here is trusted
 * before it is checked against what one frame may hold, and a whole frame against its own size.
 */
public final class FrameCodec {

  /** Bytes before the payload; every communicator counts them as sent. */
  public static final int HEADER_BYTES = 1 + 4 * Integer.BYTES;

  /** Largest payload of one frame, so that a whole frame still fits one array. */
  public static final int MAX_PAYLOAD_BYTES = Integer.MAX_VALUE - 64;

  private static final FrameKind[] KINDS = FrameKind.values();

  private FrameCodec() {}

  /** The checked start of a frame. */
  public record Header(FrameKey key, int payloadBytes) {}

  /**
   * Sum of the parts' remaining bytes.
   *
   * @throws IllegalArgumentException when that is more than one frame carries
   */
  public static int payloadBytes(FrameKey key, ByteBuffer... parts) {
    long total = 0;
    for (ByteBuffer part : parts) {
      total += part.remaining();
    }
    if (total > MAX_PAYLOAD_BYTES) {
      throw new IllegalArgumentException(
          key
              + " has "
              + total
              + " bytes, one frame carries at most "
              + MAX_PAYLOAD_BYTES
              + "; lower micro_batch_sequences");
    }
    return (int) total;
  }

  /** Puts a header at the target's position and moves it on by {@link #HEADER_BYTES}. */
  public static void putHeader(ByteBuffer target, FrameKey key, int payloadBytes) {
    ByteOrder order = target.order();
    target.order(ByteOrder.LITTLE_ENDIAN);
    target.put((byte) key.kind().ordinal());
    target.putInt(key.step()).putInt(key.part()).putInt(key.layer()).putInt(payloadBytes);
    target.order(order);
  }

  /**
   * Takes a header from the source's position and moves it on.
   *
   * @throws CorruptFrameException when it is too short or holds an unknown kind or an impossible
   *     length
   */
  public static Header getHeader(ByteBuffer source) {
    if (source.remaining() < HEADER_BYTES) {
      throw new CorruptFrameException(
          "a frame must have at least "
              + HEADER_BYTES
              + " bytes of header, got "
              + source.remaining());
    }
    ByteOrder order = source.order();
    source.order(ByteOrder.LITTLE_ENDIAN);
    int kind = source.get() & 0xFF;
    int step = source.getInt();
    int part = source.getInt();
    int layer = source.getInt();
    int length = source.getInt();
    source.order(order);
    if (kind >= KINDS.length) {
      throw new CorruptFrameException(
          "a frame's kind must be in [0, "
              + (KINDS.length - 1)
              + "], got "
              + kind
              + "; do all processes run the same version?");
    }
    FrameKey key = new FrameKey(KINDS[kind], step, part, layer);
    if (length < 0 || length > MAX_PAYLOAD_BYTES) {
      throw new CorruptFrameException(
          key
              + " must have a payload of 0 to "
              + MAX_PAYLOAD_BYTES
              + " bytes, its header says "
              + length);
    }
    return new Header(key, length);
  }

  /** Header and payload in one new buffer, position 0; the parts keep their positions. */
  public static ByteBuffer encode(FrameKey key, ByteBuffer... parts) {
    int payloadBytes = payloadBytes(key, parts);
    ByteBuffer frame =
        ByteBuffer.allocate(HEADER_BYTES + payloadBytes).order(ByteOrder.LITTLE_ENDIAN);
    putHeader(frame, key, payloadBytes);
    copy(frame, parts);
    return frame.flip();
  }

  /**
   * Reads a whole frame: the buffer must hold one and nothing else. The payload is a little-endian
   * slice of it.
   *
   * @throws CorruptFrameException when the header is wrong or the length is not that of the bytes
   *     that came
   */
  public static Communicator.Frame decode(ByteBuffer frame) {
    Header header = getHeader(frame);
    if (header.payloadBytes() != frame.remaining()) {
      throw new CorruptFrameException(
          header.key()
              + " must have "
              + header.payloadBytes()
              + " bytes of payload, got "
              + frame.remaining());
    }
    return new Communicator.Frame(header.key(), frame.slice().order(ByteOrder.LITTLE_ENDIAN));
  }

  /** Puts the remaining bytes of the parts, one after the other, without moving the parts. */
  public static void copy(ByteBuffer target, ByteBuffer... parts) {
    for (ByteBuffer part : parts) {
      target.put(part.duplicate());
    }
  }
}
