package io.sparkmoe.distill.student;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.DistillationRow;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/**
 * A teacher's row as a student reads it: prompt, completion and an end of text.
 *
 * <p>Legend: N tokens of all three, K tokens that the teacher stored for a position.
 *
 * @param source of the row
 * @param tokens (N)
 * @param learned (N): whether the student is to say the token; the end of text where the teacher
 *     said that it had finished
 * @param topkIds (N, K), an entry of null = the teacher said nothing about that token
 * @param topkLogprobs (N, K), as the ids
 * @param tailLogMass (N), not read where the ids are null
 */
public record StudentSequence(
    String source,
    int[] tokens,
    boolean[] learned,
    int[][] topkIds,
    float[][] topkLogprobs,
    float[] tailLogMass) {

  /**
   * Lays a row out; text without ids is encoded, each of prompt and completion by itself: an
   * endpoint's template hides the ids of the prompt and not those of the answer. A conversation is
   * written as {@link ChatTemplate} does.
   *
   * @param tokenizer of the student, and of the row's ids if it has any
   * @param maskPrompt whether the prompt is not learnt
   */
  public static StudentSequence of(DistillationRow row, Tokenizer tokenizer, boolean maskPrompt) {
    int[] prompt =
        row.promptIds() == null ? tokenizer.encode(prompt(row, tokenizer)) : row.promptIds();
    int[] completion =
        row.completionIds() == null ? tokenizer.encode(completion(row)) : row.completionIds();
    int end = tokenizer.endOfTextId();
    boolean ended = completion.length > 0 && completion[completion.length - 1] == end;
    int n = prompt.length + completion.length + (ended ? 0 : 1);
    int[] tokens = Arrays.copyOf(prompt, n);
    System.arraycopy(completion, 0, tokens, prompt.length, completion.length);
    boolean[] learned = new boolean[n];
    Arrays.fill(learned, maskPrompt ? prompt.length : 0, prompt.length + completion.length, true);
    if (!ended) {
      tokens[n - 1] = end;
      learned[n - 1] = DistillationRow.STOP.equals(row.finishReason());
    }
    int[][] ids = new int[n][];
    float[][] logprobs = new float[n][];
    float[] tail = new float[n];
    for (int i = 0; row.topkIds() != null && i < completion.length; i++) {
      ids[prompt.length + i] = row.topkIds()[i];
      logprobs[prompt.length + i] = row.topkLogprobs()[i];
      tail[prompt.length + i] =
          row.tailLogMass() == null
              ? DistillationRow.tailLogMassOf(row.topkLogprobs()[i])
              : row.tailLogMass()[i];
    }
    return new StudentSequence(row.source(), tokens, learned, ids, logprobs, tail);
  }

  /** Compact form for shuffles; what the teacher said nothing about is an entry of length 0. */
  public byte[] toBytes() {
    byte[] name = source.getBytes(StandardCharsets.UTF_8);
    int entries = 0;
    for (int[] ids : topkIds) {
      entries += ids == null ? 0 : ids.length;
    }
    int n = tokens.length;
    ByteBuffer out =
        ByteBuffer.allocate(
            2 * Integer.BYTES + name.length + n * (3 * Integer.BYTES + 1) + entries * 8);
    out.putInt(name.length).put(name).putInt(n);
    for (int i = 0; i < n; i++) {
      int stored = topkIds[i] == null ? 0 : topkIds[i].length;
      out.putInt(tokens[i]).put((byte) (learned[i] ? 1 : 0)).putFloat(tailLogMass[i]);
      out.putInt(stored);
      for (int j = 0; j < stored; j++) {
        out.putInt(topkIds[i][j]).putFloat(topkLogprobs[i][j]);
      }
    }
    return out.array();
  }

  /** Reads what {@link #toBytes} wrote. */
  public static StudentSequence fromBytes(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    byte[] name = new byte[in.getInt()];
    in.get(name);
    int n = in.getInt();
    StudentSequence sequence =
        new StudentSequence(
            new String(name, StandardCharsets.UTF_8),
            new int[n],
            new boolean[n],
            new int[n][],
            new float[n][],
            new float[n]);
    for (int i = 0; i < n; i++) {
      sequence.tokens[i] = in.getInt();
      sequence.learned[i] = in.get() != 0;
      sequence.tailLogMass[i] = in.getFloat();
      int stored = in.getInt();
      if (stored > 0) {
        sequence.topkIds[i] = new int[stored];
        sequence.topkLogprobs[i] = new float[stored];
      }
      for (int j = 0; j < stored; j++) {
        sequence.topkIds[i][j] = in.getInt();
        sequence.topkLogprobs[i][j] = in.getFloat();
      }
    }
    return sequence;
  }

  /** Text of a row's prompt as the student reads it. */
  static String prompt(DistillationRow row, Tokenizer tokenizer) {
    if (row.prompt() != null) {
      return row.prompt();
    }
    if (row.promptIds() != null) {
      return tokenizer.decode(row.promptIds());
    }
    return isConversation(row) ? ChatTemplate.text(conversation(row)) : "";
  }

  /** Text of a row's completion as the student reads it. */
  static String completion(DistillationRow row) {
    boolean written = row.promptIds() == null && row.completionIds() == null && isConversation(row);
    return written ? ChatTemplate.answer(row.completion()) : row.completion();
  }

  /** Whether a row's prompt is a conversation alone. */
  static boolean isConversation(DistillationRow row) {
    return row.prompt() == null && row.messages() != null;
  }

  /** What was said before the answer. */
  static List<ChatMessage> conversation(DistillationRow row) {
    return row.messages().subList(0, row.messages().size() - 1);
  }
}
