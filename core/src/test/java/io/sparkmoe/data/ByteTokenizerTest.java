package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class ByteTokenizerTest {

  private final ByteTokenizer tokenizer = new ByteTokenizer();

  @Test
  void idsAreUtf8BytesAndDecodeBackExactly() {
    assertThat(tokenizer.vocabSize()).isEqualTo(257);
    assertThat(tokenizer.endOfTextId()).isEqualTo(256);
    for (PythonCase example : PythonCase.all()) {
      int[] ids = tokenizer.encode(example.text());
      byte[] bytes = example.text().getBytes(StandardCharsets.UTF_8);
      assertThat(ids).hasSize(bytes.length);
      for (int i = 0; i < ids.length; i++) {
        assertThat(ids[i]).isEqualTo(bytes[i] & 0xFF);
      }
      assertThat(tokenizer.decode(ids)).isEqualTo(example.text());
    }
  }

  @Test
  void endOfTextIsLeftOutAndHalfCharactersReplaced() {
    assertThat(tokenizer.decode('a', 256, 'b')).isEqualTo("ab");
    assertThat(tokenizer.decode(0xC3)).isEqualTo("\uFFFD");
    assertThatThrownBy(() -> tokenizer.decode(257))
        .hasMessage("token id must be in [0, vocabSize=257), got 257");
  }

  @Test
  void theNativeLibraryEncodesItsJsonIdentically() {
    String json = tokenizer.toJson();
    try (Tokenizer nativeTwin = new BpeTokenizer(json, TokenizerJson.read(json))) {
      for (PythonCase example : PythonCase.all()) {
        assertThat(nativeTwin.encode(example.text())).isEqualTo(tokenizer.encode(example.text()));
      }
    }
  }

  @Test
  void itsJsonOpensAsItself() {
    Tokenizer opened = Tokenizers.fromJson(tokenizer.toJson());
    assertThat(opened).isInstanceOf(ByteTokenizer.class);
    assertThat(opened.sha256()).isEqualTo(tokenizer.sha256()).hasSize(64);
  }
}
