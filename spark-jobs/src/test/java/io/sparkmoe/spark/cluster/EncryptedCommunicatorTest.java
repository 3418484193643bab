package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.CommunicatorContract;
import java.time.Duration;
import org.apache.spark.SparkConf;

/** The communicators' contract with authentication and AES. */
class EncryptedCommunicatorTest extends CommunicatorContract {

  @Override
  protected Ends open(int ranks, Duration deadline) throws Exception {
    return new InProcessEnds(
        new SparkConf(false)
            .set("spark.authenticate", "true")
            .set("spark.authenticate.secret", "open sesame")
            .set("spark.network.crypto.enabled", "true"),
        ranks,
        deadline);
  }
}
