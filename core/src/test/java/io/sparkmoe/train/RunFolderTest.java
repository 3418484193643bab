package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.io.FaultyStore;
import io.sparkmoe.io.InsufficientSpaceException;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a run refuses before it writes anything. */
class RunFolderTest {

  private static final String TOKENIZER = "sha of a tokenizer";

  @TempDir Path folder;

  @Test
  @DisplayName("a disk without room for one checkpoint is refused and nothing is written")
  void refusesAFullDisk() throws Exception {
    RunConfig config = new TinyRun().config();
    long needed = CheckpointStore.expectedBytes(config.model(), DType.F32);
    LocalStore store = new LocalStore(folder.resolve("run"));
    FaultyStore full = new FaultyStore(store).withUsableBytes(needed - 1);
    assertThatThrownBy(() -> new RunFolder(full).requireRoomFor(config, TOKENIZER, Resume.auto()))
        .isInstanceOf(InsufficientSpaceException.class)
        .hasMessageContaining("not enough space for a checkpoint: " + store.location());
    assertThat(store.list("")).isEmpty();
    FaultyStore roomy = new FaultyStore(store).withUsableBytes(needed);
    assertThatCode(() -> new RunFolder(roomy).requireRoomFor(config, TOKENIZER, Resume.auto()))
        .doesNotThrowAnyException();
  }

  @ParameterizedTest
  @ValueSource(strings = {"manifest.json", "state.json", "model/config.json"})
  @DisplayName("a newest checkpoint with a damaged file does not hide the older one")
  void passesOverADamagedCheckpoint(String file) throws Exception {
    new TinyRun().with("steps", 4).with("checkpoint_every", 2).in(folder).run();
    new LocalStore(folder).writeText(RunFolder.CONFIG_FILE, "");
    Path damaged = folder.resolve("checkpoints/step-00000004").resolve(file);
    byte[] bytes = Files.readAllBytes(damaged);
    Files.write(damaged, Arrays.copyOf(bytes, bytes.length / 2));

    RunFolder run = new RunFolder(new LocalStore(folder));
    RunConfig longer = new TinyRun().with("steps", 3).config();
    assertThatCode(() -> run.requireRoomFor(longer, TOKENIZER, Resume.auto()))
        .doesNotThrowAnyException();
    RunConfig otherBatch = new TinyRun().with("batch_sequences", 8).config();
    assertThatThrownBy(() -> run.requireRoomFor(otherBatch, TOKENIZER, Resume.auto()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("step-00000002 was trained with train.batch_sequences=7");
  }
}
