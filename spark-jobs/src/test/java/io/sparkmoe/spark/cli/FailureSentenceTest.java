package io.sparkmoe.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class FailureSentenceTest {

  @Test
  void namesTheOriginOfAFailureThatOnlyTellsWhatItLedTo() {
    Exception missing = new ClassNotFoundException("Class org.example.Mapping not found");
    Exception wrapped = new RuntimeException(missing);
    Exception failure =
        new IllegalStateException("External scheduler cannot be instantiated", wrapped);

    assertThat(FailureSentence.ofRun("train", failure).text())
        .isEqualTo(
            "moe: train failed: External scheduler cannot be instantiated, because of"
                + " java.lang.ClassNotFoundException: Class org.example.Mapping not found;"
                + " run it again with --debug for details");
  }

  @Test
  void saysNothingTwice() {
    Exception origin = new RuntimeException("no route to host");
    Exception failure = new RuntimeException("worker lost: no route to host", origin);

    assertThat(FailureSentence.ofRun("train", failure).text())
        .isEqualTo("moe: worker lost: no route to host; run it again with --debug for details");
  }
}
