package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** What is read from the {@code state.json} of checkpoints old and new. */
class CheckpointStateTest {

  @Test
  @DisplayName("a checkpoint without its tokens counts as trained on rows of the run's length")
  void countsTokensOfOldCheckpoints() {
    RunConfig config = new TinyRun().config();
    ObjectNode state = CheckpointState.of(config, 10, 5_000_000_000L, DataIdentity.UNKNOWN);
    assertThat(CheckpointState.tokens(state, config.train())).isEqualTo(5_000_000_000L);
    state.remove("tokens");
    assertThat(CheckpointState.tokens(state, config.train())).isEqualTo(10 * 7 * 12);
  }
}
