package io.sparkmoe.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The contract of a store, and whom a folder belongs to. */
class OwnedStoreTest extends StoreContract {

  private static final String RUN =
      "process \\d+ on \\S.* at \\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ";

  @TempDir Path folder;

  @Override
  protected Store open() {
    return run();
  }

  private OwnedStore run() {
    return new OwnedStore(new LocalStore(folder));
  }

  @Test
  @DisplayName("who takes a folder may change it, and who had it may only read")
  void belongsToTheLast() throws IOException {
    OwnedStore first = run();
    first.writeText("a", "first");
    OwnedStore second = run();
    first.writeText("b", "first");
    second.take();
    String sentence =
        "another run took this one's folder: "
            + folder
            + " was taken by "
            + RUN
            + ", expected it to stay with "
            + RUN
            + "; run one at a time, or give each its own folder";
    refuses(sentence, () -> first.writeText("a", "again"));
    refuses(sentence, () -> first.rename("a", "c"));
    refuses(sentence, () -> first.delete("a"));
    refuses(sentence, first::requireOurs);
    assertThat(first.readText("a")).isEqualTo("first");
    second.delete("b");
    assertThat(first.list("")).containsExactly("a");

    first.take();
    refuses(sentence, first::requireOurs);
    second.requireOurs();
  }

  @Test
  @DisplayName("a run that has changed nothing has taken nothing")
  void readingTakesNothing() throws IOException {
    OwnedStore first = run();
    first.take();
    OwnedStore reader = run();
    reader.requireOurs();
    assertThat(reader.exists("a")).isFalse();
    first.requireOurs();
  }

  @Test
  @DisplayName("a run whose mark is gone does not fill the folder again")
  void stopsWithoutItsMark() throws IOException {
    OwnedStore run = run();
    run.writeText("a", "");
    Files.delete(folder.resolve(OwnedStore.MARK));
    refuses(
        "another run took this one's folder: "
            + folder
            + " has no .owner any more, expected it to stay with "
            + RUN
            + "; .*",
        () -> run.writeText("b", ""));
  }

  private static void refuses(String sentence, ThrowingCallable change) {
    assertThatThrownBy(change).isInstanceOf(IOException.class).hasMessageMatching(sentence);
  }
}
