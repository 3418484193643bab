package io.sparkmoe.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What every {@link Store} promises. */
public abstract class StoreContract {

  private Store store;

  /** A store over an empty or missing folder. */
  protected abstract Store open() throws IOException;

  @BeforeEach
  void openStore() throws IOException {
    store = open();
  }

  @AfterEach
  void closeStore() throws IOException {
    store.close();
  }

  @Test
  void aFileReadsBackAsWrittenWithItsSize() throws IOException {
    store.writeText("a/b/c.txt", "zwölf");

    assertThat(store.readText("a/b/c.txt")).isEqualTo("zwölf");
    assertThat(store.size("a/b/c.txt")).isEqualTo(6);
    assertThat(store.exists("a/b/c.txt")).isTrue();
    assertThat(store.exists("a/b")).isTrue();
    assertThat(store.exists("a/x")).isFalse();
  }

  @Test
  void readingStartsAtTheOffset() throws IOException {
    store.writeText("digits", "0123456789");

    try (InputStream in = store.open("digits", 7)) {
      assertThat(new String(in.readAllBytes(), StandardCharsets.UTF_8)).isEqualTo("789");
    }
  }

  @Test
  void anOpenFileIsInvisibleUntilItIsClosed() throws IOException {
    AtomicOutputStream out = store.create("f/data");
    out.write("half".getBytes(StandardCharsets.UTF_8));
    out.flush();

    assertThat(store.exists("f/data")).isFalse();
    assertThat(store.list("f")).isEmpty();

    out.close();
    assertThat(store.list("f")).containsExactly("data");
  }

  @Test
  void anAbortedFileLeavesNothingAndKeepsTheOldOne() throws IOException {
    store.writeText("f/data", "old");

    AtomicOutputStream out = store.create("f/data");
    out.write('n');
    out.abort();
    out.close();

    assertThat(store.readText("f/data")).isEqualTo("old");
    assertThat(store.list("f")).containsExactly("data");
  }

  @Test
  void contentThatThrowsLeavesNothing() throws IOException {
    assertThatThrownBy(
            () ->
                store.write(
                    "f/data",
                    out -> {
                      out.write(1);
                      throw new IllegalStateException("NaN in layer 3");
                    }))
        .hasMessage("NaN in layer 3");

    assertThat(store.exists("f/data")).isFalse();
    assertThat(store.list("f")).isEmpty();
  }

  @Test
  void creatingReplacesAFileWhenItIsClosed() throws IOException {
    store.writeText("data", "old and long");
    store.writeText("data", "new");

    assertThat(store.readText("data")).isEqualTo("new");
    assertThat(store.list("")).containsExactly("data");
  }

  @Test
  void aClosedFileTakesNoMoreBytes() throws IOException {
    AtomicOutputStream out = store.create("data");
    out.close();

    assertThatThrownBy(() -> out.write(1))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("closed");
    assertThat(store.size("data")).isZero();
  }

  @Test
  void renamingMovesAFileAndNeverOntoAnother() throws IOException {
    store.writeText("from", "1");
    store.rename("from", "to");
    assertThat(store.exists("from")).isFalse();
    assertThat(store.readText("to")).isEqualTo("1");

    store.writeText("from", "2");
    assertThatThrownBy(() -> store.rename("from", "to")).isInstanceOf(IOException.class);
    assertThat(store.readText("to")).isEqualTo("1");
    assertThat(store.readText("from")).isEqualTo("2");
    assertThatThrownBy(() -> store.rename("missing", "new")).isInstanceOf(IOException.class);
  }

  @Test
  void listingGivesSortedNamesOfFilesAndFolders() throws IOException {
    store.writeText("top/b", "");
    store.writeText("top/a", "");
    store.writeText("top/c/d", "");

    assertThat(store.list("top")).containsExactly("a", "b", "c");
    assertThat(store.list("")).containsExactly("top");
    assertThat(store.list("nowhere")).isEmpty();
    assertThat(store.list("top/a")).isEmpty();
  }

  @Test
  void deletingTakesAFolderWithAllItHolds() throws IOException {
    store.writeText("top/a", "");
    store.writeText("top/c/d", "");
    AtomicOutputStream pending = store.create("top/c/pending");
    pending.write(1);

    store.delete("top");
    store.delete("top");

    assertThat(store.exists("top")).isFalse();
    pending.abort();
  }

  @Test
  void missingFilesAreNamed() {
    assertThatThrownBy(() -> store.open("x/y").close())
        .isInstanceOf(FileNotFoundException.class)
        .hasMessageContaining("x/y");
    assertThatThrownBy(() -> store.size("x/y"))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessageContaining("x/y");
  }

  @Test
  void pathsCannotLeaveTheRoot() {
    for (String path :
        new String[] {"../x", "/x", "a//b", "a/./b", "", "a/" + Store.PENDING_PREFIX + "b"}) {
      assertThatThrownBy(() -> store.create(path))
          .as(path)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("'" + path + "'");
    }
  }

  @Test
  void freeSpaceIsKnownBeforeTheFolderExists() throws IOException {
    assertThat(store.usableBytes()).isPositive();
  }
}
