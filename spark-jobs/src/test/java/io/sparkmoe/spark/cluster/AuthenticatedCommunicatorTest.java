package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.CommunicatorContract;
import java.time.Duration;
import org.apache.spark.SparkConf;

/** The communicators' contract with {@code spark.authenticate}. */
class AuthenticatedCommunicatorTest extends CommunicatorContract {

  @Override
  protected Ends open(int ranks, Duration deadline) throws Exception {
    return new InProcessEnds(
        new SparkConf(false)
            .set("spark.authenticate", "true")
            .set("spark.authenticate.secret", "open sesame"),
        ranks,
        deadline);
  }
}
