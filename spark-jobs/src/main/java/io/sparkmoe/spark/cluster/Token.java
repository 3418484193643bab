package io.sparkmoe.spark.cluster;

import java.io.Serializable;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.SecureRandom;

/**
 * Random bytes that name one run or one attempt. They keep frames of other runs and of stale
 * attempts apart; who may connect at all is decided by {@code spark.authenticate}.
 */
final class Token implements Serializable {

  static final int BYTES = 32;

  private static final long serialVersionUID = 1;

  private final byte[] bytes;

  private Token(byte[] bytes) {
    this.bytes = bytes;
  }

  static Token random() {
    byte[] bytes = new byte[BYTES];
    new SecureRandom().nextBytes(bytes);
    return new Token(bytes);
  }

  static Token readFrom(ByteBuffer in) {
    byte[] bytes = new byte[BYTES];
    in.get(bytes);
    return new Token(bytes);
  }

  void writeTo(ByteBuffer out) {
    out.put(bytes);
  }

  /** Compares in a time that does not depend on where the first difference is. */
  boolean matches(Token other) {
    return MessageDigest.isEqual(bytes, other.bytes);
  }

  @Override
  public String toString() {
    return "token";
  }
}
