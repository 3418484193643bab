package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.io.Store;
import io.sparkmoe.io.StoreContract;
import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FsStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The contract on a file system that Hadoop's FileContext does not know, as many object stores are.
 */
class ForeignFileSystemStoreTest extends StoreContract {

  @TempDir java.nio.file.Path folder;

  /** This machine's files under a scheme of their own. */
  public static final class ForeignFileSystem extends RawLocalFileSystem {
    @Override
    public URI getUri() {
      return URI.create("foreign:///");
    }

    /** As HDFS answers: what the disks have free, replicas not counted. */
    @Override
    public FsStatus getStatus(Path path) {
      return new FsStatus(4000, 1000, getConf().getLong("foreign.free", 3000));
    }

    @Override
    public short getDefaultReplication(Path path) {
      return (short) getConf().getInt("foreign.replication", 1);
    }
  }

  @Override
  protected Store open() throws IOException {
    return open(new Configuration());
  }

  private Store open(Configuration configuration) throws IOException {
    configuration.set("fs.foreign.impl", ForeignFileSystem.class.getName());
    configuration.setBoolean("fs.foreign.impl.disable.cache", true);
    return HadoopStore.open("foreign://" + folder.resolve("not/there/yet"), configuration);
  }

  @Test
  void freeSpaceIsWhatFitsWithItsReplicas() throws IOException {
    Configuration configuration = new Configuration();
    for (int replication : new int[] {1, 3}) {
      configuration.setInt("foreign.replication", replication);
      try (Store store = open(configuration)) {
        assertThat(store.usableBytes()).isEqualTo(3000 / replication);
      }
    }
    configuration.setLong("foreign.free", Long.MAX_VALUE);
    try (Store store = open(configuration)) {
      assertThat(store.usableBytes()).isEqualTo(Long.MAX_VALUE);
    }
  }

  @Test
  void anyOtherSchemeIsHadoops() throws IOException {
    try (Store store = open()) {
      assertThat(store).isInstanceOf(HadoopStore.class);
    }
  }
}
