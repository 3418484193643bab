package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.Failure;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * What two ends say over one channel, little-endian. The first byte is the type; a string is a u16
 * length and UTF-8 bytes. A connection opens with HELLO (rank to driver, answered by WELCOME or
 * REFUSED) or GREETING (rank to rank, answered by READY or REFUSED); both carry a {@link Token},
 * and everything after that on the channel comes from the rank that showed it. No Java object is
 * ever read from a channel.
 */
final class Message {

  /** Magic, run token, attempt i32, rank i32, host, port i32, executor id. */
  static final byte HELLO = 1;

  /** Attempt token, then for each rank its host, port i32 and executor id. */
  static final byte WELCOME = 2;

  /** Reason. */
  static final byte REFUSED = 3;

  /** Magic, attempt token, rank i32. */
  static final byte GREETING = 4;

  /** Nothing. */
  static final byte READY = 5;

  /**
   * A frame's header as in {@link io.sparkmoe.parallel.FrameCodec} and the first bytes of its
   * payload.
   */
  static final byte FRAME = 6;

  /** Further bytes of the frame last begun on this channel. */
  static final byte MORE = 7;

  /** Whether another attempt is useless u8, the end that failed i32, reason. */
  static final byte ABORT = 8;

  /** Nothing: the sender has finished, its channel will close. */
  static final byte BYE = 9;

  /** Nothing: the sender is at work on something long. */
  static final byte ALIVE = 10;

  /** First bytes of a connection, so that another program's are told apart from an old token. */
  private static final int MAGIC = 0x31_45_4f_4d;

  private static final int MAX_STRING_BYTES = 4096;

  private Message() {}

  /** The end that a rank listens at, and where. */
  record Address(String host, int port, String executorId) {

    static final int MAX_BYTES = 2 * (Short.BYTES + MAX_STRING_BYTES) + Integer.BYTES;

    void writeTo(ByteBuffer out) {
      putString(out, host);
      out.putInt(port);
      putString(out, executorId);
    }

    static Address readFrom(ByteBuffer in) {
      String host = getString(in);
      int port = in.getInt();
      if (port < 1 || port > 65535) {
        throw new CorruptFrameException("a rank's port must be in [1, 65535], got " + port);
      }
      return new Address(host, port, getString(in));
    }
  }

  static ByteBuffer hello(Token run, int attempt, int rank, Address address) {
    ByteBuffer out = allocate(1 + 4 + Token.BYTES + 8 + Address.MAX_BYTES).put(HELLO).putInt(MAGIC);
    run.writeTo(out);
    out.putInt(attempt).putInt(rank);
    address.writeTo(out);
    return out.flip();
  }

  static ByteBuffer welcome(Token attempt, Address[] ranks) {
    ByteBuffer out = allocate(1 + Token.BYTES + ranks.length * Address.MAX_BYTES).put(WELCOME);
    attempt.writeTo(out);
    for (Address rank : ranks) {
      rank.writeTo(out);
    }
    return out.flip();
  }

  static ByteBuffer greeting(Token attempt, int rank) {
    ByteBuffer out = allocate(1 + 4 + Token.BYTES + 4).put(GREETING).putInt(MAGIC);
    attempt.writeTo(out);
    return out.putInt(rank).flip();
  }

  static ByteBuffer refused(String reason) {
    return text(allocate(1 + Short.BYTES + MAX_STRING_BYTES).put(REFUSED), reason);
  }

  static ByteBuffer abort(boolean fatal, Failure failure) {
    return text(
        allocate(2 + Integer.BYTES + Short.BYTES + MAX_STRING_BYTES)
            .put(ABORT)
            .put((byte) (fatal ? 1 : 0))
            .putInt(failure.rank()),
        failure.reason());
  }

  static ByteBuffer bare(byte type) {
    return allocate(1).put(type).flip();
  }

  /** Takes the magic number of an opening message. */
  static void checkMagic(ByteBuffer in) {
    int magic = in.getInt();
    if (magic != MAGIC) {
      throw new CorruptFrameException(
          "a connection must open with 0x"
              + Integer.toHexString(MAGIC)
              + ", got 0x"
              + Integer.toHexString(magic));
    }
  }

  static String getString(ByteBuffer in) {
    int length = in.getShort() & 0xFFFF;
    if (length > MAX_STRING_BYTES || length > in.remaining()) {
      throw new CorruptFrameException(
          "a text must have at most "
              + Math.min(MAX_STRING_BYTES, in.remaining())
              + " bytes, got "
              + length);
    }
    byte[] bytes = new byte[length];
    in.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private static ByteBuffer text(ByteBuffer out, String text) {
    putString(out, text);
    return out.flip();
  }

  private static void putString(ByteBuffer out, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(bytes.length, MAX_STRING_BYTES);
    out.putShort((short) length).put(bytes, 0, length);
  }

  private static ByteBuffer allocate(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
