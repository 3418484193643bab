package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.io.Store;
import io.sparkmoe.io.StoreContract;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The contract on a file system that Hadoop's FileContext does not know, as many object stores are.
 */
class ForeignFileSystemStoreTest extends StoreContract {

  @TempDir Path folder;

  /** This machine's files under a scheme of their own. */
  public static final class ForeignFileSystem extends RawLocalFileSystem {
    @Override
    public URI getUri() {
      return URI.create("foreign:///");
    }
  }

  @Override
  protected Store open() throws IOException {
    Configuration configuration = new Configuration();
    configuration.set("fs.foreign.impl", ForeignFileSystem.class.getName());
    return HadoopStore.open("foreign://" + folder.resolve("not/there/yet"), configuration);
  }

  @Test
  void anyOtherSchemeIsHadoops() throws IOException {
    try (Store store = open()) {
      assertThat(store).isInstanceOf(HadoopStore.class);
    }
  }
}
