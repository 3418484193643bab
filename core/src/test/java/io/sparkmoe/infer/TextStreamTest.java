package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.data.ByteTokenizer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class TextStreamTest {

  private final ByteTokenizer tokenizer = new ByteTokenizer();

  private List<String> pieces(byte[] bytes, TextStream stream) {
    List<String> pieces = new ArrayList<>();
    for (byte b : bytes) {
      pieces.add(stream.add(b & 0xFF));
    }
    pieces.add(stream.end());
    pieces.removeIf(String::isEmpty);
    return pieces;
  }

  private List<String> pieces(String text, String... stops) {
    return pieces(text.getBytes(StandardCharsets.UTF_8), new TextStream(tokenizer, List.of(stops)));
  }

  @Test
  void aCharacterComesWhenAllItsBytesHave() {
    assertThat(pieces("aé€😀z")).containsExactly("a", "é", "€", "😀", "z");
  }

  @Test
  void bytesThatNeverBecomeACharacterComeAtTheEnd() {
    byte[] cut = {'a', (byte) 0xE2, (byte) 0x82};
    List<String> pieces = pieces(cut, new TextStream(tokenizer, List.of()));
    assertThat(pieces).first().isEqualTo("a");
    assertThat(String.join("", pieces)).isEqualTo(tokenizer.decode('a', 0xE2, 0x82));
  }

  @Test
  void textEndsBeforeTheFirstStopString() {
    assertThat(String.join("", pieces("one two three", "thr", "two"))).isEqualTo("one ");
  }

  @Test
  void whatMayBecomeAStopStringIsHeldBackAndComesWhenItDoesNot() {
    assertThat(pieces("ab\n\nUx", "\n\nUser:")).containsExactly("a", "b", "\n\nUx");
    assertThat(pieces("ab\n\nUse", "\n\nUser:")).containsExactly("a", "b", "\n\nUse");
  }

  @Test
  void nothingFollowsAStopString() {
    TextStream stream = new TextStream(tokenizer, List.of("b"));
    assertThat(stream.add('a')).isEqualTo("a");
    assertThat(stream.add('b')).isEmpty();
    assertThat(stream.isStopped()).isTrue();
    assertThat(stream.add('c')).isEmpty();
    assertThat(stream.end()).isEmpty();
  }

  @Test
  void idsBeyondTheTokenizersVocabularyMeanNothing() {
    TextStream stream = new TextStream(tokenizer, List.of());
    assertThat(stream.add(4000)).isEmpty();
    assertThat(stream.add('a')).isEqualTo("a");
  }
}
