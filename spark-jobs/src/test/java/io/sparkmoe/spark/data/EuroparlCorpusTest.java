package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EuroparlCorpusTest {

  @TempDir Path folder;

  @Test
  void theBuildBringsTheWholeCorpusAndItsTextsAreOneALine() throws IOException {
    Path file = folder.resolve("europarl.txt");
    assertThat(EuroparlCorpus.writeTexts(file)).isEqualTo(17_597);
    List<String> lines = Files.readAllLines(file);
    assertThat(lines).hasSize(17_597).noneMatch(line -> line.contains("\t") || line.isBlank());
    assertThat(lines.get(0)).startsWith("Istituzioni europee");
  }
}
