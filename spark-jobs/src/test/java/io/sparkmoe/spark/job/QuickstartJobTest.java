package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.spark.cluster.PreflightException;
import io.sparkmoe.train.RunFolder;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which folders {@code moe quickstart} takes; what it refuses is left as it was. */
class QuickstartJobTest {

  @TempDir Path folder;

  @Test
  @DisplayName("a data folder that somebody else has filled is refused and stays")
  void refusesForeignData() throws Exception {
    write("data/mine.txt", "precious");
    refuses("holds data and was not begun by moe quickstart");
    // A dataset of one's own is no reason to train on it either.
    write("data/dataset.json", "{}");
    refuses("holds data and was not begun by moe quickstart");
  }

  @Test
  @DisplayName("the folder of another run is refused and keeps its summary and data")
  void refusesAnotherRun() throws Exception {
    write("config.yaml", "");
    write("summary.json", "{\"steps\": 4}");
    write("metrics.jsonl", "{\"step\": 4}\n");
    write("data/rows", "precious");
    refuses("holds config.yaml and was not begun by moe quickstart");
  }

  @Test
  @DisplayName("what an interrupted quickstart left is prepared anew, once Spark can start")
  void goesOnWithItsOwnFolder() throws Exception {
    write(RunFolder.QUICKSTART_FILE, "");
    write("quickstart-corpus.txt", "half a cor");
    write("data/train/part", "half a dataset");
    startsSpark();
    assertThat(folder.resolve("data/train/part")).exists();
  }

  @Test
  @DisplayName("a new folder is taken, and stays empty when Spark cannot start")
  void takesANewFolder() throws Exception {
    startsSpark();
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  @DisplayName("a run that began and wrote nothing yet leaves a folder that counts as new")
  void takesAFolderThatHoldsOnlyAMark() throws Exception {
    new RunFolder(new LocalStore(folder)).begin();
    startsSpark();
  }

  private void refuses(String sentence) throws Exception {
    Map<String, String> before = files();
    assertThatThrownBy(this::quickstart)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "--out "
                + folder
                + " "
                + sentence
                + ", expected an empty or new folder, or one with quickstart.txt; name another"
                + " one");
    assertThat(files()).isEqualTo(before);
  }

  /** Every check of the folder has passed when only the master is in the way. */
  private void startsSpark() {
    System.setProperty("spark.master", "nowhere");
    try {
      assertThatThrownBy(this::quickstart)
          .isInstanceOf(PreflightException.class)
          .hasMessageContaining("--master is nowhere");
    } finally {
      System.clearProperty("spark.master");
    }
  }

  private void quickstart() throws Exception {
    PrintStream nowhere = new PrintStream(new ByteArrayOutputStream(), true);
    QuickstartOptions options =
        new QuickstartOptions(
            new ConfigResolver().preset("quickstart").resolve(), folder.toString(), 0);
    new QuickstartJob(options, nowhere, nowhere).run();
  }

  private void write(String name, String text) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }

  private Map<String, String> files() throws IOException {
    Map<String, String> texts = new TreeMap<>();
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        texts.put(folder.relativize(file).toString(), Files.readString(file));
      }
    }
    return texts;
  }
}
