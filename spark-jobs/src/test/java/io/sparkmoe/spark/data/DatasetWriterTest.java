package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class DatasetWriterTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  @TempDir Path folder;

  @Test
  void ofTwoWritersInOneFolderTheLaterOneEndsAndTheOtherSaysWhyNot() throws IOException {
    Path text = Files.write(folder.resolve("text.txt"), List.of("a few words ".repeat(20)));
    String out = folder.resolve("out").toString();
    try (NumberedDocuments documents =
            NumberedDocuments.of(
                new DocumentReader(SPARK.session(), DocumentFormat.TEXT, "text", null)
                    .read(List.of(text.toString())),
                SourceRule.single(),
                0);
        Tokenizer bytes = new ByteTokenizer();
        PackedRows rows = new PackedRows(documents, bytes, 16)) {
      Runnable another = () -> write(out, rows, bytes);
      assertThatThrownBy(() -> write(out, rows, new TellingTokenizer(bytes, another)))
          .hasRootCauseInstanceOf(IOException.class)
          .hasMessageContaining("another run took this one's folder: file:" + out)
          .hasMessageContaining(" has no prepare.unfinished any more, expected it to stay with ");
      TokenDataset written = TokenDataset.open(out, new Configuration());
      assertThat(written.readLocally(TokenDataset.TRAIN)).isNotEmpty();
    }
  }

  private static void write(String out, PackedRows rows, Tokenizer tokenizer) {
    try {
      new DatasetWriter(SPARK.session(), out).write(rows, tokenizer);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Tells when it is about to be written down, which is when the writer has begun. */
  private record TellingTokenizer(Tokenizer tokenizer, Runnable told) implements Tokenizer {

    @Override
    public int vocabSize() {
      return tokenizer.vocabSize();
    }

    @Override
    public int endOfTextId() {
      return tokenizer.endOfTextId();
    }

    @Override
    public int[] encode(String text) {
      return tokenizer.encode(text);
    }

    @Override
    public String decode(int... ids) {
      return tokenizer.decode(ids);
    }

    @Override
    public String toJson() {
      told.run();
      return tokenizer.toJson();
    }

    @Override
    public String sha256() {
      return tokenizer.sha256();
    }

    @Override
    public void close() {}
  }
}
