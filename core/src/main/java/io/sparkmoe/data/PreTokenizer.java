package io.sparkmoe.data;

import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Splits text into the words that merges never cross, as Python's {@code
 * ByteLevel(add_prefix_space=False, use_regex=True)} does: GPT-2's pattern [1], under which a word
 * carries the space before it.
 *
 * <p>[1] openai/gpt-2, src/encoder.py.
 */
final class PreTokenizer {

  private static final Pattern WORD =
      Pattern.compile(
          "'(?:[stmd]|re|ve|ll)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          Pattern.UNICODE_CHARACTER_CLASS);

  private PreTokenizer() {}

  static void split(CharSequence text, Consumer<String> words) {
    Matcher matcher = WORD.matcher(text);
    while (matcher.find()) {
      words.accept(matcher.group());
    }
  }
}
