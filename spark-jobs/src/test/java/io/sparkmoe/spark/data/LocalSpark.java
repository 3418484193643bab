package io.sparkmoe.spark.data;

import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** A fresh session of two threads for a test class, UI off; register it as a static extension. */
public final class LocalSpark implements BeforeAllCallback, AfterAllCallback {

  private final String master;
  private SparkSession session;

  public LocalSpark() {
    this("local[2]");
  }

  /**
   * @param master such as {@code local[2,3]}, which attempts a task three times
   */
  public LocalSpark(String master) {
    this.master = master;
  }

  @Override
  public void beforeAll(ExtensionContext context) {
    session =
        SparkSession.builder()
            .master(master)
            .appName(context.getDisplayName())
            .config("spark.ui.enabled", false)
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.task.maxFailures", 1)
            .config("spark.sql.shuffle.partitions", 2)
            // What the jobs run with: records must not depend on how a serializer treats them.
            .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
            .getOrCreate();
  }

  @Override
  public void afterAll(ExtensionContext context) {
    session.stop();
  }

  public SparkSession session() {
    return session;
  }

  public JavaSparkContext context() {
    return JavaSparkContext.fromSparkContext(session.sparkContext());
  }
}
