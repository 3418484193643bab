package io.sparkmoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.sparkmoe.checkpoint.CheckpointWriter.RunState;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Weights that transformers wrote, as a checkpoint that three ranks and a driver write. The
 * checkpoints stay under target/golden-checkpoints, where {@code
 * src/test/python/check_transformers.py} loads them into transformers again.
 */
class GoldenCheckpointTest {

  private static final int NUM_RANKS = 3;

  @ParameterizedTest
  @ValueSource(strings = {"tiny", "tiny-256", "yarn-no-q-lora", "shared-two"})
  void everyTensorOfTransformersIsInTheCheckpointUnderItsName(String name) throws Exception {
    Store golden = new LocalStore(golden(name));
    ModelConfig model =
        HuggingFaceConfig.fromJson(
            new ObjectMapper().readTree(golden.readText("config.json")), note -> {});
    Store store = new LocalStore(Path.of("target/golden-checkpoints", name));
    store.delete(CheckpointStore.FOLDER);
    CheckpointStore checkpoints = new CheckpointStore(store);
    checkpoints.prepare(1, CheckpointStore.expectedBytes(model, DType.F32));
    try (Arena arena = new Arena("golden", 256L << 20);
        SafetensorsReader weights = SafetensorsReader.open(golden, "model.safetensors")) {
      List<FileEntry> files = new ArrayList<>();
      for (int rank = 0; rank < NUM_RANKS; rank++) {
        files.addAll(write(checkpoints.writer(1), model, rank, weights, arena));
      }
      checkpoints
          .writer(1)
          .commit(
              new RunState(
                  model,
                  JsonNodeFactory.instance.objectNode(),
                  JsonNodeFactory.instance.objectNode(),
                  NUM_RANKS,
                  "reference",
                  true),
              files);

      try (CheckpointReader reader = checkpoints.newestValid().checkpoint().orElseThrow();
          Scope scope = arena.scope()) {
        assertThat(reader.modelTensors()).containsExactlyInAnyOrderElementsOf(weights.names());
        for (String tensor : weights.names()) {
          Tensor expected = weights.read(tensor, scope);
          Tensor actual = scope.allocate(DType.F32, expected.shape());
          reader.read(tensor, actual);
          assertThat(actual.toFloatArray()).as(tensor).containsExactly(expected.toFloatArray());
        }
      }
    }
  }

  private static List<FileEntry> write(
      CheckpointWriter writer, ModelConfig model, int rank, SafetensorsReader weights, Arena arena)
      throws IOException {
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), NUM_RANKS);
    try (Parameters held =
        Parameters.allocate(
            model, placement, rank, EnumSet.allOf(Part.class), DType.F32, true, arena)) {
      for (Parameter parameter : held.all()) {
        weights.read(parameter.name(), parameter.value());
      }
      Moments moments =
          Moments.of(held, name -> held.find(name).value(), name -> held.find(name).value());
      List<FileEntry> files = new ArrayList<>(writer.writeExperts(rank, NUM_RANKS, held, moments));
      if (rank == 0) {
        files.addAll(writer.writeReplicated(held, moments));
        files.addAll(writer.writeGates(held, moments));
      }
      return files;
    }
  }

  private static Path golden(String name) throws URISyntaxException {
    return Path.of(GoldenCheckpointTest.class.getResource("/golden/" + name).toURI());
  }
}
