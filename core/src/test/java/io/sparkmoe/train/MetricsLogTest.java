package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.LocalStore;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a resumed run makes of the metrics that it finds. */
class MetricsLogTest {

  @TempDir Path folder;
  private Path file;
  private LocalStore store;

  @BeforeEach
  void open() {
    store = new LocalStore(folder);
    file = folder.resolve(MetricsLog.FILE);
  }

  @Test
  @DisplayName("lines up to the checkpoint are kept as they are, later ones are dropped")
  void keepsLinesUpToTheCheckpoint() throws IOException {
    Files.writeString(file, "{\"step\":1, \"x\":0.5}\n{\"step\":2}\n{\"step\":3}\n");
    resume(2, null);
    assertThat(file).hasContent("{\"step\":1, \"x\":0.5}\n{\"step\":2}\n{\"step\":3}\n");
  }

  @Test
  @DisplayName("a last line that was cut off is left out, and the steps that lack metrics are said")
  void passesOverACutLastLine() throws IOException {
    Files.writeString(file, "{\"step\":1}\n{\"step\":2}\n{\"step\":3, \"lo");
    MetricsLog.requireWhole(store);
    resume(
        4,
        file
            + " has a last line that was cut off, which is left out: steps 3 to 4 have no metrics");
    assertThat(file).hasContent("{\"step\":1}\n{\"step\":2}\n");
  }

  @Test
  @DisplayName("a cut line of a step that is taken again loses nothing")
  void saysNothingOfAStepThatIsTakenAgain() throws IOException {
    Files.writeString(file, "{\"step\":1}\n{\"step\":2}\n{\"step\":3, \"lo");
    resume(2, null);
    assertThat(file).hasContent("{\"step\":1}\n{\"step\":2}\n");
  }

  @Test
  @DisplayName("a damaged line before the last is refused by file and line, and the file stays")
  void refusesADamagedLine() throws IOException {
    for (String damaged : new String[] {"{\"st", "", "7", "{\"step\":2}{\"step\":3}"}) {
      String text = "{\"step\":1}\n" + damaged + "\n{\"step\":4}\n";
      Files.writeString(file, text);
      String sentence =
          file
              + " is damaged: line 2 is no step's metrics, expected one JSON object; correct or"
              + " delete the line, or move the file away to go on without its steps";
      assertThatThrownBy(() -> MetricsLog.requireWhole(store))
          .isInstanceOf(CorruptFileException.class)
          .hasMessage(sentence);
      assertThatThrownBy(() -> new MetricsLog(store, 4)).hasMessage(sentence);
      assertThat(file).hasContent(text);
    }
  }

  private void resume(int step, String note) throws IOException {
    try (MetricsLog log = new MetricsLog(store, step)) {
      assertThat(log.note().orElse(null)).isEqualTo(note);
    }
  }
}
