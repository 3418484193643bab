package io.sparkmoe.distill.student;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.train.DistillConfig;
import io.sparkmoe.train.DistillConfig.Loss;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class StudentRowsTest {

  private final ByteTokenizer tokenizer = new ByteTokenizer();

  @Test
  @DisplayName("rows are counted before they are packed, and held out by their ids")
  void countsAreThoseOfThePacking() {
    StudentRows rows = rows(Loss.BUCKET);
    List<DistillationRow> all = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      all.add(row("r" + i, "p".repeat(i % 5), "completion " + i).build());
    }
    all.forEach(row -> rows.add(row, tokenizer));
    rows.close();
    List<DistillationRow> heldOut = all.stream().filter(row -> rows.isHeldOut(row.id())).toList();
    assertThat(heldOut.size()).isBetween(8, 40);
    List<DistillationRow> train =
        all.stream()
            .filter(row -> !rows.isHeldOut(row.id()))
            .sorted(Comparator.comparing(DistillationRow::id))
            .toList();
    List<TokenRow> packed = new ArrayList<>();
    rows.packBucket(
        0, train.stream().map(row -> rows.sequence(row, tokenizer)).iterator(), packed::add);
    assertThat(packed).hasSize((int) rows.numTrainRows());
    assertThat(packed.get(3).rowId()).isEqualTo(3);
    assertThat(packed.get(0).teacher().topK()).isEqualTo(2);
    List<TokenRow> validation = rows.packValidation(heldOut, tokenizer);
    assertThat(validation).hasSize((int) rows.numValidationRows());
    assertThat(validation.get(0).teacher().topK()).isZero();
    assertThat(rows.validationBytesPerToken()).isEqualTo(1);
  }

  @Test
  @DisplayName("what a student cannot learn from is refused with the row and the next step")
  void refusals() {
    String sha = tokenizer.sha256();
    refuses(
        Loss.CROSS_ENTROPY,
        row("r", "a", "b").ids("f00d", new int[] {1}, new int[] {2}).topk(null, null, null),
        "row r of DIR has ids of the tokenizer with SHA-256 f00d, the student's has " + sha);
    refuses(
        Loss.BUCKET,
        row("r", "a", "b").topk(null, null, null),
        "row r of DIR has no topk_ids and topk_logprobs, distill.loss=bucket needs them; set"
            + " distill.loss=cross_entropy");
    refuses(
        Loss.REVERSE_KL,
        row("r", "", "b").topk(new int[][] {{257}}, new float[][] {{-1}}, new float[] {-1}),
        "row r of DIR has token id 257, the student's tokenizer has ids up to 256");
    refuses(
        Loss.ZERO_TAIL,
        row("r", "", "b").topk(new int[][] {{3, 3}}, new float[][] {{-1, -2}}, new float[] {-1}),
        "row r of DIR names a token twice at position 0");
    refuses(
        Loss.FORWARD_KL,
        row("r", "", "b"),
        "row r of DIR stores 2 tokens at position 0, distill.loss=forward_kl needs all 257");
    refuses(
        Loss.BUCKET,
        row("r", "a", "b").templateSha256("f00d"),
        "row r of DIR has ids of the chat template with SHA-256 f00d, the student's has "
            + ChatTemplate.sha256()
            + "; teach again");
    refuses(
        Loss.BUCKET,
        row("r", null, "b")
            .ids(sha, null, new int[] {'b'})
            .messages(List.of(new ChatMessage("user", "a"))),
        "row r of DIR is a conversation that ends with user, expected the assistant's answer");
    refuses(
        Loss.BUCKET,
        row("r", null, "b")
            .ids(sha, null, new int[] {'b'})
            .messages(List.of(new ChatMessage("tool", "a"), new ChatMessage("assistant", "b"))),
        "row r of DIR cannot be written as text, since the chat template has no turn for a role:"
            + " got tool, expected system, user or assistant; ");
    StudentRows twice = rows(Loss.BUCKET);
    twice.add(row("r", "", "b").build(), tokenizer);
    assertThatThrownBy(() -> twice.add(row("r", "", "c").build(), tokenizer))
        .hasMessageContaining("row r of DIR is there twice");
  }

  @Test
  @DisplayName("a chat endpoint's row, with ids of the answer alone, has its prompt encoded")
  void promptOfAChat() {
    DistillationRow row =
        row("r", "ab", "cd")
            .ids(tokenizer.sha256(), null, new int[] {'c', 'd'})
            .messages(List.of(new ChatMessage("user", "ab"), new ChatMessage("assistant", "cd")))
            .build();
    StudentRows rows = rows(Loss.BUCKET);
    rows.add(row, tokenizer);

    StudentSequence sequence = rows.sequence(row, tokenizer);
    assertThat(sequence.tokens()).containsExactly('a', 'b', 'c', 'd', tokenizer.endOfTextId());
    assertThat(sequence.topkIds()[1]).isNull();
    assertThat(sequence.topkIds()[2]).containsExactly('c', 255);
  }

  @Test
  @DisplayName("a conversation without ids is written as the chat template does, and counted so")
  void conversation() {
    List<ChatMessage> messages =
        List.of(new ChatMessage("user", " ab\n"), new ChatMessage("assistant", "cd"));
    DistillationRow.Builder row =
        row("r", null, "cd").finishReason(DistillationRow.STOP).messages(messages);
    int end = tokenizer.endOfTextId();

    DistillationRow text = row.ids(null, null, null).topk(null, null, null).build();
    assertThat(tokens(text)).containsExactly(withEnd("User: ab\n\nAssistant: cd", end));
    DistillationRow answer =
        row.ids(tokenizer.sha256(), null, new int[] {'c', 'd'})
            .topk(new int[2][1], new float[2][1], new float[2])
            .build();
    assertThat(tokens(answer)).containsExactly(withEnd("User: ab\n\nAssistant:cd", end));
    DistillationRow ids =
        row.ids(tokenizer.sha256(), new int[] {'x', 'y'}, new int[] {'c', 'd'})
            .templateSha256(ChatTemplate.sha256())
            .build();
    assertThat(tokens(ids)).containsExactly(withEnd("xycd", end));

    for (DistillationRow one : List.of(text, answer, ids)) {
      for (boolean masked : new boolean[] {true, false}) {
        StudentRows rows =
            new StudentRows(
                "DIR", tokenizer, 16, 1, new DistillConfig(Loss.CROSS_ENTROPY, 1, 0, masked));
        rows.add(one, tokenizer);
        assertThat(rows.validationBytesPerToken()).as("%s, %s", one, masked).isEqualTo(1);
      }
    }
  }

  private int[] tokens(DistillationRow row) {
    return rows(Loss.CROSS_ENTROPY).sequence(row, tokenizer).tokens();
  }

  private static int[] withEnd(String text, int end) {
    return IntStream.concat(text.chars(), IntStream.of(end)).toArray();
  }

  private void refuses(Loss loss, DistillationRow.Builder row, String message) {
    assertThatThrownBy(() -> rows(loss).add(row.build(), tokenizer))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(message);
  }

  private StudentRows rows(Loss loss) {
    return new StudentRows("DIR", tokenizer, 16, 0.1, DistillConfig.defaults().withLoss(loss));
  }

  private static DistillationRow.Builder row(String id, String prompt, String completion) {
    int n = completion.length();
    int[][] ids = new int[n][];
    float[][] logprobs = new float[n][];
    for (int i = 0; i < n; i++) {
      ids[i] = new int[] {completion.charAt(i), 255};
      logprobs[i] = new float[] {-0.5f, -2};
    }
    return DistillationRow.builder()
        .id(id)
        .source("s")
        .prompt(prompt)
        .completion(completion)
        .answer(completion)
        .finishReason("length")
        .teacher("t", null)
        .ids(
            new ByteTokenizer().sha256(),
            prompt == null ? new int[0] : prompt.chars().toArray(),
            completion.chars().toArray())
        .topk(ids, logprobs, null)
        .createdAt(Instant.EPOCH);
  }
}
