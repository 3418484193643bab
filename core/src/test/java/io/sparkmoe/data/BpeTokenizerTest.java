package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class BpeTokenizerTest {

  @Test
  void idsEqualPythonsAndDecodeBackExactly() {
    try (Tokenizer tokenizer = Tokenizers.fromJson(PythonCase.tokenizerJson())) {
      assertThat(tokenizer.vocabSize()).isEqualTo(600);
      assertThat(tokenizer.endOfTextId()).isZero();
      for (PythonCase expected : PythonCase.all()) {
        assertThat(tokenizer.encode(expected.text())).as(expected.text()).isEqualTo(expected.ids());
        assertThat(tokenizer.decode(expected.ids())).isEqualTo(expected.text());
      }
    }
  }

  @Test
  void aLongTextIsNotTruncated() {
    try (Tokenizer tokenizer = Tokenizers.fromJson(PythonCase.tokenizerJson())) {
      String text = "All human beings are born free. ".repeat(500);
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
    }
  }

  @Test
  void aSpecialNameInsideATextStaysText() {
    try (Tokenizer tokenizer = Tokenizers.fromJson(PythonCase.tokenizerJson())) {
      String text = "one<|endoftext|>two <|endoftext|><|endoftext|>";
      int[] ids = tokenizer.encode(text);
      assertThat(ids).doesNotContain(tokenizer.endOfTextId());
      assertThat(tokenizer.decode(ids)).isEqualTo(text);
    }
  }

  @Test
  void aTextFullOfSpecialNamesIsTextToo() {
    try (Tokenizer tokenizer =
        Tokenizers.fromJson(BpeTrainer.train(new WordCounts().asMap(), 257))) {
      String text = "<|endoftext|>".repeat(20_000);
      assertThat(tokenizer.encode(text))
          .hasSize(text.length())
          .doesNotContain(tokenizer.endOfTextId());
    }
  }

  @Test
  void specialTokensAreLeftOutAndHalfCharactersReplaced() {
    try (Tokenizer tokenizer =
        Tokenizers.fromJson(BpeTrainer.train(new WordCounts().asMap(), 257))) {
      assertThat(tokenizer.decode('a', 256, 'b')).isEqualTo("ab");
      assertThat(tokenizer.decode(0xC3)).isEqualTo("\uFFFD");
      assertThatThrownBy(() -> tokenizer.decode(257))
          .hasMessage("token id must be in [0, vocabSize=257), got 257");
    }
  }

  @Test
  void whatIsNotAByteLevelBpeIsRefusedInOneSentence() {
    assertThatThrownBy(() -> Tokenizers.fromJson("not json"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("tokenizer is not JSON");
    assertThatThrownBy(() -> Tokenizers.fromJson("{\"model\": {\"type\": \"WordPiece\"}}"))
        .hasMessage(
            "tokenizer model is WordPiece, expected BPE; give a ByteLevel-BPE tokenizer.json");
    assertThatThrownBy(
            () -> Tokenizers.fromJson("{\"model\": {\"type\": \"BPE\"}, \"decoder\": null}"))
        .hasMessageContaining("tokenizer decoder is none, expected ByteLevel");
    String unnamed = PythonCase.tokenizerJson().replace("<|endoftext|>", "<unnamed>");
    assertThatThrownBy(() -> Tokenizers.fromJson(unnamed))
        .hasMessageContaining("has no end-of-text token");
    String broken =
        PythonCase.tokenizerJson()
            .replace("\"merges\":[", "\"merges\":[[\"q\",\"no such token\"],");
    assertThatThrownBy(() -> Tokenizers.fromJson(broken))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("tokenizer.json cannot be read");
  }
}
