package io.sparkmoe.spark.job;

import io.sparkmoe.io.Store;
import io.sparkmoe.spark.data.HadoopStore;
import java.io.IOException;
import java.io.Serializable;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.util.SerializableConfiguration;

/** A folder that executors open as the driver does. */
final class StoreLocation implements Serializable {

  private static final long serialVersionUID = 1;

  private final String location;
  private final SerializableConfiguration configuration;

  StoreLocation(String location, Configuration configuration) {
    this.location = location;
    this.configuration = new SerializableConfiguration(configuration);
  }

  Store open() throws IOException {
    return HadoopStore.open(location, configuration.value());
  }
}
