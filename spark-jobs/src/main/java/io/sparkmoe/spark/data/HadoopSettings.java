package io.sparkmoe.spark.data;

import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;

/**
 * Settings of Hadoop's file systems as Spark has them: those of core-site.xml and its like, and
 * above them what {@code spark.hadoop.*} says, such as the keys of an object store.
 */
public final class HadoopSettings {

  private HadoopSettings() {}

  /** The settings of this process, whether Spark has started or not. */
  public static Configuration current() {
    return SparkHadoopUtil.get().newConfiguration(new SparkConf());
  }
}
