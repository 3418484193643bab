package io.sparkmoe.distill;

/**
 * The text form of a teacher's reasoning, {@code <think>...</think>} before the answer, as
 * DeepSeek-R1 writes it and as a student learns it.
 */
public final class Thinking {

  private static final String OPEN = "<think>";
  private static final String CLOSE = "</think>";

  private Thinking() {}

  /**
   * A completion in its parts.
   *
   * @param reasoning null = none
   * @param answer what comes after it
   */
  public record Parts(String reasoning, String answer) {}

  /** Parts of a completion; one that was cut off while the teacher thought has an empty answer. */
  public static Parts split(String completion) {
    String text = completion.stripLeading();
    if (!text.startsWith(OPEN)) {
      return new Parts(null, completion);
    }
    int end = text.indexOf(CLOSE);
    return end < 0
        ? new Parts(text.substring(OPEN.length()).strip(), "")
        : new Parts(
            text.substring(OPEN.length(), end).strip(),
            text.substring(end + CLOSE.length()).stripLeading());
  }

  /** The completion of a teacher that gave its reasoning apart. */
  public static String join(String reasoning, String answer) {
    return reasoning == null ? answer : OPEN + "\n" + reasoning + "\n" + CLOSE + "\n\n" + answer;
  }
}
