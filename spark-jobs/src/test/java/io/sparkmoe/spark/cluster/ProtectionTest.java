package io.sparkmoe.spark.cluster;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.RankLostException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Where Spark's traffic is protected, ours is: each way that Spark knows, and its refusal where it
 * fails.
 */
@Timeout(60)
class ProtectionTest {

  private static final Duration LONG = Duration.ofSeconds(20);
  private static final String PASSWORD = "open sesame";

  private static SparkConf authenticated() {
    return new SparkConf(false)
        .set("spark.authenticate", "true")
        .set("spark.authenticate.secret", PASSWORD);
  }

  private static void exchange(SparkConf conf) throws Exception {
    FrameKey key = new FrameKey(FrameKind.COMBINE, 1, 0, 0);
    ByteBuffer large = ByteBuffer.allocateDirect(3_000_001);
    for (int i = 0; i < large.capacity(); i++) {
      large.put(i, (byte) (i * 31 >> 3));
    }
    try (InProcessEnds ends = new InProcessEnds(conf, 2, LONG)) {
      ends.rank(0).send(1, key, large);
      ends.rank(1).send(0, key, large);
      assertThat(ends.rank(1).receive(0, key)).isEqualTo(large);
      assertThat(ends.rank(0).receive(1, key)).isEqualTo(large);
    }
  }

  @Test
  void framesTravelUnderSaslEncryption() throws Exception {
    exchange(authenticated().set("spark.authenticate.enableSaslEncryption", "true"));
  }

  @Test
  void framesTravelUnderTls(@TempDir Path folder) throws Exception {
    Path keys = folder.resolve("keys.p12");
    Process keytool =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair",
                "-alias",
                "moe",
                "-keyalg",
                "EC",
                "-dname",
                "CN=localhost",
                "-storetype",
                "PKCS12",
                "-keystore",
                keys.toString(),
                "-storepass",
                PASSWORD)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("keytool.txt").toFile())
            .start();
    assertThat(keytool.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(keytool.exitValue()).isZero();
    exchange(
        authenticated()
            .set("spark.ssl.rpc.enabled", "true")
            .set("spark.ssl.rpc.protocol", "TLSv1.3")
            .set("spark.ssl.rpc.keyStore", keys.toString())
            .set("spark.ssl.rpc.keyStorePassword", PASSWORD)
            .set("spark.ssl.rpc.keyPassword", PASSWORD)
            .set("spark.ssl.rpc.trustStore", keys.toString())
            .set("spark.ssl.rpc.trustStorePassword", PASSWORD));
  }

  @Test
  void aConnectionThatIsOnlyAuthenticatedIsRefusedWhereSparkEncrypts() {
    // Spark itself falls back to authentication by SASL without encryption here.
    SparkConf encrypted = authenticated().set("spark.network.crypto.enabled", "true");
    try (Rendezvous run = InProcessEnds.rendezvous(encrypted, 1, LONG, (fatal, reason) -> {})) {
      assertThatThrownBy(() -> InProcessEnds.join(authenticated(), run.ticket(), 0, 0))
          .isInstanceOf(RankLostException.class)
          .hasMessageContaining(
              "the connection is not encrypted as spark.network.crypto.enabled asks");
      assertThat(run.numAttempts()).isZero();
    }
  }
}
