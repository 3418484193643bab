package io.sparkmoe.distill.student;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.distill.DistillationRow;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class StudentPackerTest {

  private static final int END = 256;

  private final ByteTokenizer tokenizer = new ByteTokenizer();

  @Test
  @DisplayName("every token but the first is a target once, with its own teacher beside it")
  void teachersStayWithTheirTokens() {
    // Token value = position, and the one stored id is the token + 100.
    List<TokenRow> rows = new ArrayList<>();
    StudentPacker packer = new StudentPacker(4, 1, 7, rows::add);
    packer.add(sequence(0, 6));
    packer.add(sequence(6, 11));
    packer.flush();
    assertThat(rows).hasSize((int) StudentPacker.numRows(11, 4)).hasSize(3);
    int next = 1;
    for (int r = 0; r < rows.size(); r++) {
      TokenRow row = rows.get(r);
      TeacherColumns teacher = row.teacher();
      assertThat(row.rowId()).isEqualTo(7 + r);
      for (int p = 1; p < row.numTokens(); p++) {
        assertThat(row.tokens()[p]).isEqualTo(next);
        assertThat(teacher.ids()[p]).isEqualTo(next + 100);
        assertThat(teacher.logProbabilities()[p]).isEqualTo(-next);
        assertThat(teacher.tailLogMass()[p]).isEqualTo(-1f / next);
        assertThat(row.learns(p)).isEqualTo(next % 2 == 0);
        next++;
      }
    }
    assertThat(next).isEqualTo(11);
    assertThat(rows.get(1).docStarts()).containsExactly(2);
    TokenRow last = rows.get(2);
    assertThat(last.numTokens()).isEqualTo(3);
    assertThat(last.teacher().ids()).containsExactly(108, 109, 110, -1, -1);
    assertThat(TeacherColumns.fromBytes(last.teacher().toBytes()))
        .usingRecursiveComparison()
        .isEqualTo(last.teacher());
  }

  private static StudentSequence sequence(int from, int to) {
    int n = to - from;
    int[] tokens = new int[n];
    boolean[] learned = new boolean[n];
    int[][] ids = new int[n][];
    float[][] logprobs = new float[n][];
    float[] tail = new float[n];
    for (int i = 0; i < n; i++) {
      tokens[i] = from + i;
      learned[i] = tokens[i] % 2 == 0;
      ids[i] = new int[] {tokens[i] + 100};
      logprobs[i] = new float[] {-tokens[i]};
      tail[i] = -1f / tokens[i];
    }
    return new StudentSequence("s", tokens, learned, ids, logprobs, tail);
  }

  @Test
  @DisplayName("a prompt is not learnt unless asked, an end only where the teacher ended")
  void promptsAndEnds() {
    DistillationRow row = row("stop", "ab", "cd").build();
    StudentSequence masked = StudentSequence.of(row, tokenizer, true);
    assertThat(masked.tokens()).containsExactly('a', 'b', 'c', 'd', END);
    assertThat(masked.learned()).containsExactly(false, false, true, true, true);
    assertThat(masked.topkIds()[2]).containsExactly('c', 'x');
    assertThat(masked.topkIds()[1]).isNull();
    assertThat(masked.topkIds()[4]).isNull();
    assertThat(StudentSequence.fromBytes(masked.toBytes()))
        .usingRecursiveComparison()
        .isEqualTo(masked);
    // 1 - e^-1 - e^-2 of what the teacher did not store.
    assertThat(masked.tailLogMass()[3])
        .isCloseTo((float) Math.log(1 - Math.exp(-1) - Math.exp(-2)), within(1e-6f));
    assertThat(StudentSequence.of(row, tokenizer, false).learned())
        .containsExactly(true, true, true, true, true);
    assertThat(StudentSequence.of(row("length", "ab", "cd").build(), tokenizer, true).learned())
        .containsExactly(false, false, true, true, false);
  }

  @Test
  @DisplayName("text without ids is encoded; entries that are NaN are left out")
  void textAndUnknowns() {
    DistillationRow text =
        row("stop", "a", "b").ids(null, null, null).topk(null, null, null).build();
    assertThat(StudentSequence.of(text, tokenizer, true).tokens()).containsExactly('a', 'b', END);
    List<TokenRow> rows = new ArrayList<>();
    StudentPacker packer = new StudentPacker(2, 3, 0, rows::add);
    packer.add(
        StudentSequence.of(
            row("stop", "", "q")
                .topk(new int[][] {{1, 2}}, new float[][] {{Float.NaN, -3}}, new float[] {-1})
                .build(),
            tokenizer,
            true));
    packer.flush();
    assertThat(rows.get(0).teacher().ids()).containsExactly(2, -1, -1, -1, -1, -1, -1, -1, -1);
  }

  private static DistillationRow.Builder row(String finish, String prompt, String completion) {
    int n = completion.length();
    int[][] ids = new int[n][];
    float[][] logprobs = new float[n][];
    for (int i = 0; i < n; i++) {
      ids[i] = new int[] {completion.charAt(i), 'x'};
      logprobs[i] = new float[] {-1, -2};
    }
    return DistillationRow.builder()
        .id("r")
        .source("s")
        .prompt(prompt)
        .completion(completion)
        .answer(completion)
        .finishReason(finish)
        .teacher("t", null)
        .ids(new ByteTokenizer().sha256(), prompt.chars().toArray(), completion.chars().toArray())
        .topk(ids, logprobs, null)
        .createdAt(Instant.EPOCH);
  }
}
