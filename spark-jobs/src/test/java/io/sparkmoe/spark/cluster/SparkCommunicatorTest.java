package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.CommunicatorContract;
import java.time.Duration;
import org.apache.spark.SparkConf;

/** The communicators' contract over Spark's transport as it is out of the box. */
class SparkCommunicatorTest extends CommunicatorContract {

  @Override
  protected Ends open(int ranks, Duration deadline) throws Exception {
    return new InProcessEnds(new SparkConf(false), ranks, deadline);
  }
}
