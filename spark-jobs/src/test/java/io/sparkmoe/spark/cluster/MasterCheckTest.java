package io.sparkmoe.spark.cluster;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MasterCheckTest {

  private static void check(String master) {
    MasterCheck.check(new SparkConf(false).setMaster(master));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "local",
        "local[2]",
        "local[*, 3]",
        "local-cluster[2,1,1024]",
        "yarn",
        "k8s://https://h"
      })
  void whatNeedsNoStandaloneMasterPasses(String master) {
    assertThatCode(() -> check(master)).doesNotThrowAnyException();
  }

  @ParameterizedTest
  @ValueSource(strings = {"local[x]", "local-cluster[2]", "mesos://h:1"})
  void aMasterThatSparkDoesNotKnowIsRefused(String master) {
    assertThatThrownBy(() -> check(master))
        .isInstanceOf(PreflightException.class)
        .hasMessageStartingWith("--master is " + master + ", expected local[N]");
  }

  @Test
  void aStandaloneMasterMustAnswerAtOneOfItsAddresses() throws IOException {
    int port;
    try (ServerSocket master = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = master.getLocalPort();
      assertThatCode(() -> check("spark://no_port,127.0.0.1:" + master.getLocalPort()))
          .doesNotThrowAnyException();
    }
    assertThatThrownBy(() -> check("spark://127.0.0.1:" + port))
        .isInstanceOf(PreflightException.class)
        .hasMessageStartingWith("no Spark master answers at spark://127.0.0.1:" + port)
        .hasMessageEndingWith("start it or correct --master");
  }
}
