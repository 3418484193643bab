package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.io.StoreContract;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HadoopStoreTest extends StoreContract {

  @TempDir Path folder;

  @Override
  protected Store open() throws IOException {
    return new HadoopStore(folder.resolve("not/there/yet").toUri().toString(), new Configuration());
  }

  @Test
  void aLocationWithoutASchemeIsOnTheDefaultFileSystem() throws IOException {
    try (Store store = new HadoopStore(folder.toString(), new Configuration())) {
      assertThat(store.location()).isEqualTo("file:" + folder);
    }
  }

  @Test
  void aFolderOfThisMachineOpensAsALocalStore() throws IOException {
    try (Store store = HadoopStore.open(folder.toString(), new Configuration())) {
      assertThat(store).isInstanceOf(LocalStore.class);
      assertThat(store.location()).isEqualTo(folder.toString());
    }
  }

  @Test
  void aFileIsNoFolder() throws IOException {
    String file = Files.writeString(folder.resolve("notes.txt"), "x").toString();
    String sentence = "not a folder: file:" + file + " is a file, expected a folder; name another";
    assertThatThrownBy(() -> HadoopStore.open(file, new Configuration()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(sentence);
    assertThatThrownBy(() -> new HadoopStore(file, new Configuration()))
        .hasMessageStartingWith(sentence);
  }
}
