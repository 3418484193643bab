package io.sparkmoe.distill.student;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.TeacherIdentity;
import java.time.Instant;
import java.util.Arrays;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class TaughtRowTest {

  private static final int TOP_K = 2;

  @Test
  @DisplayName("what a teacher says of every target comes back as it was, and padding is nothing")
  void comesBack() {
    CharacterText text = CharacterText.of("abcab".repeat(40), 0.25, 8);
    try (Tokenizer tokenizer = Tokenizers.fromJson(text.tokenizerJson())) {
      for (TokenRow plain : text.train()) {
        TokenRow taught = plain.withTeacher(columns(plain));
        DistillationRow stored =
            TaughtRow.toDistillationRow(taught, tokenizer, teacher(tokenizer), Instant.EPOCH);
        assertThat(stored.prompt() + stored.completion())
            .isEqualTo(tokenizer.decode(Arrays.copyOf(plain.tokens(), plain.numTokens())));
        TokenRow back = TaughtRow.withTeacher(plain, stored);
        int end = plain.numTokens() * TOP_K;
        assertThat(slice(back.teacher().ids(), end)).isEqualTo(slice(taught.teacher().ids(), end));
        assertThat(Arrays.copyOfRange(back.teacher().logProbabilities(), TOP_K, end))
            .isEqualTo(Arrays.copyOfRange(taught.teacher().logProbabilities(), TOP_K, end));
        assertThat(Arrays.copyOfRange(back.teacher().tailLogMass(), 1, plain.numTokens()))
            .isEqualTo(Arrays.copyOfRange(taught.teacher().tailLogMass(), 1, plain.numTokens()));
        assertThat(back.teacher().learned()).isEqualTo(taught.teacher().learned());
        assertThat(Arrays.stream(back.teacher().ids(), end, back.teacher().ids().length))
            .allMatch(id -> id == -1);
      }
    }
  }

  @Test
  @DisplayName("what was said of another row is refused")
  void refusesAnotherRow() {
    CharacterText text = CharacterText.of("abcab".repeat(40), 0.25, 8);
    TokenRow first = text.train().get(0);
    try (Tokenizer tokenizer = Tokenizers.fromJson(text.tokenizerJson())) {
      DistillationRow stored =
          TaughtRow.toDistillationRow(
              first.withTeacher(columns(first)), tokenizer, teacher(tokenizer), Instant.EPOCH);
      assertThatThrownBy(() -> TaughtRow.withTeacher(text.train().get(1), stored))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("row-00000000 has other tokens than row 1 of the text");
    }
  }

  private static int[] slice(int[] ids, int end) {
    return Arrays.copyOfRange(ids, TOP_K, end);
  }

  private static TeacherIdentity teacher(Tokenizer tokenizer) {
    return new TeacherIdentity("t", "r", tokenizer.sha256(), tokenizer.vocabSize());
  }

  /** Every number says where it stands. */
  private static TeacherColumns columns(TokenRow row) {
    int positions = row.tokens().length;
    boolean[] learned = new boolean[positions];
    Arrays.fill(learned, true);
    int[] ids = new int[positions * TOP_K];
    float[] logProbabilities = new float[positions * TOP_K];
    float[] tail = new float[positions];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = i % 3;
      logProbabilities[i] = -i - row.rowId();
      tail[i / TOP_K] = -0.5f * i;
    }
    return new TeacherColumns(learned, TOP_K, ids, logProbabilities, tail);
  }
}
