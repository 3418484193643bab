package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class HadoopSettingsTest {

  @Test
  void sparkSettingsReachFileSystems() {
    String key = "fs.s3a.endpoint";
    String before = HadoopSettings.current().get(key);
    System.setProperty("spark.hadoop." + key, "store.example");
    try {
      assertThat(HadoopSettings.current().get(key)).isEqualTo("store.example");
      assertThat(HadoopSettings.current().get("fs.defaultFS")).isNotNull();
    } finally {
      System.clearProperty("spark.hadoop." + key);
    }
    assertThat(HadoopSettings.current().get(key)).isEqualTo(before);
  }
}
