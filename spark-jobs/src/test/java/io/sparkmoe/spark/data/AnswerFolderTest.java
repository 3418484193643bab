package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.io.LocalStore;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AnswerFolderTest {

  private static final TokenUsage USAGE = new TokenUsage(7, 5);

  @TempDir Path path;

  private LocalStore store;
  private AnswerFolder folder;

  @BeforeEach
  void openFolder() {
    store = new LocalStore(path);
    folder = new AnswerFolder(store, path.toUri().toString());
  }

  private AnswerWriter writer() {
    return new AnswerWriter(store, (request, reason) -> {});
  }

  private static List<DistillationRow> answer(String id) {
    return List.of(
        DistillationRow.builder()
            .id(id)
            .source("")
            .prompt("q")
            .completion("a")
            .answer("a")
            .teacher("t", null)
            .createdAt(Instant.EPOCH)
            .build());
  }

  @Test
  void whatAWriterThatWasKilledLeftOfJoinedFilesCountsOnce(@TempDir Path aside) throws IOException {
    AnswerWriter writer = writer();
    for (int i = 0; i < 3; i++) {
      writer.answered(answer("a" + i), USAGE);
    }
    List<String> single = store.list("");
    for (String name : single) {
      Files.copy(path.resolve(name), aside.resolve(name));
    }
    writer.finish();
    assertThat(store.list("")).hasSize(1).doesNotContainAnyElementsOf(single);
    for (String name : single) {
      Files.copy(aside.resolve(name), path.resolve(name));
      assertThat(folder.state()).isEqualTo(new AnswerFolder.State(3, new TokenUsage(21, 15)));
    }
    writer.answered(answer("a3"), USAGE);
    try (AnswerWriter other = writer()) {
      other.answered(answer("b0"), USAGE);
    }
    assertThat(folder.state()).isEqualTo(new AnswerFolder.State(5, new TokenUsage(35, 25)));
  }

  @Test
  void filesOfAnEarlierVersionCount() throws IOException {
    store.writeText("answers-" + UUID.randomUUID() + "-64-1000-500.parquet", "");
    store.writeText("answers-" + UUID.randomUUID() + "-1-7-5.parquet", "");
    store.writeText("answers-of-others-1-7-5.parquet", "");
    assertThat(folder.state()).isEqualTo(new AnswerFolder.State(65, new TokenUsage(1007, 505)));
  }

  @Test
  void answersAreFoundWhateverTheDigitsOfTheMachinesLanguage() throws IOException {
    Locale before = Locale.getDefault();
    for (String tag : List.of("fa-IR", "ar-EG", "mr-IN", "en-US")) {
      Locale.setDefault(Locale.forLanguageTag(tag));
      try (AnswerWriter writer = writer()) {
        writer.answered(answer(tag), USAGE);
      } finally {
        Locale.setDefault(before);
      }
    }
    assertThat(folder.state())
        .isEqualTo(new AnswerFolder.State(4, USAGE.plus(USAGE).plus(USAGE).plus(USAGE)));
  }
}
