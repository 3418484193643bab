package io.sparkmoe.train.protocol;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * Messages of a run, as JSON in CONTROL frames, in this order: every rank gets a {@link RunStart}
 * and answers {@link RankReady} (as step 0). In a step every rank sends {@link StepCounts} and gets
 * the global ones back; after its backward pass it sends a {@link StepReport} and gets the {@link
 * StepOrder}; when its update, and what the order asked for, is done it sends {@link StepEnd} and
 * goes on; after the last step that is its last word. A run that starts after its last step has
 * only the StepOrder and the StepEnd of that step. JSON carries doubles without loss.
 */
public final class Protocol {

  private static final ObjectMapper JSON = new ObjectMapper();

  private Protocol() {}

  /** The messages in the order of a run; the ordinal is the frame's part. */
  public enum Message {
    START,
    READY,
    COUNTS,
    REPORT,
    ORDER,
    END
  }

  /** Key of a message's frame. */
  public static FrameKey key(Message message, int step) {
    return new FrameKey(FrameKind.CONTROL, step, message.ordinal(), 0);
  }

  /** Sends a message to one end. */
  public static void send(
      Communicator communicator, int to, Message message, int step, Object body) {
    communicator.send(to, key(message, step), ByteBuffer.wrap(encode(body)));
  }

  /** Waits for that message from one end; fails as {@link Communicator#receive} does. */
  public static <T> T receive(
      Communicator communicator, int from, Message message, int step, Class<T> type) {
    return decode(communicator.receive(from, key(message, step)), type);
  }

  private static byte[] encode(Object body) {
    try {
      return JSON.writeValueAsBytes(body);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("cannot encode " + body, e);
    }
  }

  /**
   * Reads a message.
   *
   * @throws IllegalStateException when the payload is not one of that type
   */
  public static <T> T decode(ByteBuffer payload, Class<T> type) {
    String text = StandardCharsets.UTF_8.decode(payload).toString();
    try {
      return JSON.readValue(text, type);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("expected a " + type.getSimpleName() + ", got: " + text, e);
    }
  }
}
