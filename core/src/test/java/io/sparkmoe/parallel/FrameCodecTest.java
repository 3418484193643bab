package io.sparkmoe.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

class FrameCodecTest {

  private static final FrameKey KEY = new FrameKey(FrameKind.GRADIENTS, 1 << 30, 77, -1);

  @Test
  void aFrameComesBackAsItWas() {
    ByteBuffer frame =
        FrameCodec.encode(KEY, ByteBuffer.wrap(new byte[] {1, 2}), ByteBuffer.wrap(new byte[] {3}));
    assertThat(frame.remaining()).isEqualTo(FrameCodec.HEADER_BYTES + 3);
    Communicator.Frame back = FrameCodec.decode(frame);
    assertThat(back.key()).isEqualTo(KEY);
    assertThat(back.payload()).isEqualTo(ByteBuffer.wrap(new byte[] {1, 2, 3}));
    assertThat(back.payload().order()).isEqualTo(ByteOrder.LITTLE_ENDIAN);
  }

  @Test
  void aLengthThatDoesNotFitTheBytesIsRefused() {
    for (int length : new int[] {-1, 0, 2, 4, Integer.MAX_VALUE}) {
      ByteBuffer frame = FrameCodec.encode(KEY, ByteBuffer.wrap(new byte[3]));
      frame.putInt(FrameCodec.HEADER_BYTES - Integer.BYTES, length);
      assertThatThrownBy(() -> FrameCodec.decode(frame))
          .isInstanceOf(CorruptFrameException.class)
          .hasMessageContaining("gradients of step")
          .hasMessageContaining(Integer.toString(length));
    }
  }

  @Test
  void anUnknownKindAndACutHeaderAreRefused() {
    ByteBuffer frame = FrameCodec.encode(KEY);
    frame.put(0, (byte) 200);
    assertThatThrownBy(() -> FrameCodec.decode(frame))
        .isInstanceOf(CorruptFrameException.class)
        .hasMessageContaining("got 200");
    ByteBuffer cut = FrameCodec.encode(KEY).limit(FrameCodec.HEADER_BYTES - 1);
    assertThatThrownBy(() -> FrameCodec.decode(cut))
        .isInstanceOf(CorruptFrameException.class)
        .hasMessageContaining("got " + (FrameCodec.HEADER_BYTES - 1));
  }
}
