package io.sparkmoe.checkpoint;

import static io.sparkmoe.checkpoint.CheckpointFixture.MODEL;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.checkpoint.CheckpointFixture.Held;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.FaultyStore;
import io.sparkmoe.io.FormatTooNewException;
import io.sparkmoe.io.InsufficientSpaceException;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.model.TensorShape;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {

  @TempDir Path folder;
  private Store store;
  private Arena arena;

  @BeforeEach
  void open() {
    store = new LocalStore(folder);
    arena = new Arena("test", 64L << 20);
  }

  @AfterEach
  void close() {
    arena.close();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 7})
  void anyNumberOfRanksReadsWhatThreeHaveWritten(int numRanks) throws IOException {
    CheckpointFixture.write(store, 5, 3, 42, arena);

    ExpertPlacement placement = new ExpertPlacement(MODEL.numRoutedExperts(), numRanks);
    try (CheckpointReader reader = new CheckpointStore(store).open(5)) {
      for (int rank = 0; rank < numRanks; rank++) {
        try (Held expected = new Held(placement, rank, EnumSet.allOf(Part.class), 42, arena);
            Held read = new Held(placement, rank, EnumSet.allOf(Part.class), 0, arena)) {
          reader.readWeights(read.weights);
          reader.readMoments(read.moments());
          assertEqual(expected.weights, read.weights);
          assertEqual(expected.first, read.first);
          assertEqual(expected.second, read.second);
        }
      }
      assertThat(reader.model()).isEqualTo(MODEL);
      assertThat(reader.state().path("nextRow").asInt()).isEqualTo(80);
      assertThat(reader.manifest().step()).isEqualTo(5);
      assertThat(reader.manifest().numRanks()).isEqualTo(3);
      assertThat(reader.manifest().gemmBackend()).isEqualTo("reference");
      assertThat(reader.manifest().config().path("lr").asDouble()).isEqualTo(0.004);
    }
  }

  @Test
  void theDigestOfTheWeightsDoesNotDependOnWhoHeldThem() throws Exception {
    CheckpointFixture.write(store, 1, 1, 42, arena);
    CheckpointFixture.write(store, 2, 4, 42, arena);
    CheckpointFixture.write(store, 3, 4, 43, arena);

    assertThat(digestOf(1))
        .isEqualTo(expectedDigest(42))
        .isEqualTo(digestOf(2))
        .isNotEqualTo(digestOf(3));
  }

  @Test
  void huggingFacesIndexNamesEveryTensorAndItsFile() throws IOException {
    CheckpointFixture.write(store, 1, 2, 42, arena);

    JsonNode index =
        new ObjectMapper()
            .readTree(
                store.readText("checkpoints/step-00000001/model/model.safetensors.index.json"));
    List<String> names = new ArrayList<>();
    long sizeBytes = 0;
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      names.add(shape.name());
      sizeBytes += 4 * shape.numElements();
    }
    List<String> indexed = new ArrayList<>();
    index.path("weight_map").fieldNames().forEachRemaining(indexed::add);
    assertThat(indexed).containsExactlyInAnyOrderElementsOf(names);
    assertThat(index.path("metadata").path("total_size").asLong()).isEqualTo(sizeBytes);
    assertThat(
            index.path("weight_map").path("model.layers.1.mlp.experts.3.up_proj.weight").asText())
        .isEqualTo("experts-00001-of-00002.safetensors");
    assertThat(
            index
                .path("weight_map")
                .path("model.layers.2.mlp.gate.e_score_correction_bias")
                .asText())
        .isEqualTo("gates.safetensors");
  }

  @Test
  void shapesWithoutAllocationAreThoseOfAllocatedParameters() {
    Map<String, String> allocated = new TreeMap<>();
    try (Parameters parameters = Parameters.allocateAll(MODEL, DType.F32, arena)) {
      for (Parameter parameter : parameters.all()) {
        allocated.put(
            parameter.name(),
            parameter.part() + java.util.Arrays.toString(parameter.value().shape()));
      }
    }
    Map<String, String> described = new TreeMap<>();
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      described.put(shape.name(), shape.part() + java.util.Arrays.toString(shape.shape()));
    }
    assertThat(described).isEqualTo(allocated);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model/experts-00001-of-00002.safetensors",
        "model/gates.safetensors",
        "model/config.json",
        "optimizer/replicated.safetensors",
        "state.json",
        "manifest.json"
      })
  void aFlippedBitAnywhereIsNamedAndTheOlderCheckpointTaken(String file) throws IOException {
    CheckpointFixture.write(store, 10, 2, 1, arena);
    CheckpointFixture.write(store, 20, 2, 2, arena);
    Path damaged = folder.resolve("checkpoints/step-00000020").resolve(file);
    byte[] bytes = Files.readAllBytes(damaged);
    bytes[bytes.length - 3] ^= 4;
    Files.write(damaged, bytes);

    assertFallsBackTo10(damaged);
  }

  @Test
  void aTruncatedOrMissingFileIsNamedAndTheOlderCheckpointTaken() throws IOException {
    CheckpointFixture.write(store, 10, 2, 1, arena);
    CheckpointFixture.write(store, 20, 2, 2, arena);
    Path file = folder.resolve("checkpoints/step-00000020/optimizer/gates.safetensors");
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, java.util.Arrays.copyOf(bytes, bytes.length - 1));
    assertFallsBackTo10(file);

    Files.delete(file);
    assertFallsBackTo10(file);
  }

  @Test
  void withoutAnyWholeCheckpointEveryDamagedOneIsNamed() throws IOException {
    assertThat(new CheckpointStore(store).newestValid().checkpoint()).isEmpty();
    CheckpointFixture.write(store, 10, 1, 1, arena);
    store.writeText("checkpoints/step-00000010/state.json", "{}");

    CheckpointStore.Newest newest = new CheckpointStore(store).newestValid();
    assertThat(newest.checkpoint()).isEmpty();
    assertThat(newest.damaged()).hasSize(1);
  }

  @Test
  void aWriterThatDiesAtAnyFileLeavesNothingCommitted() throws IOException {
    CheckpointFixture.write(store, 10, 2, 1, arena);
    for (int files = 0; ; files++) {
      try {
        CheckpointFixture.write(new FaultyStore(store).failingAfterFiles(files), 20, 2, 2, arena);
        assertThat(files).as("files of a checkpoint").isEqualTo(12);
        break;
      } catch (IOException e) {
        assertThat(e).hasMessage("injected: no more files");
        assertThat(new CheckpointStore(store).committedSteps()).containsExactly(10);
      }
    }
    assertThat(new CheckpointStore(store).committedSteps()).containsExactly(10, 20);
  }

  @Test
  void aDiskThatFillsUpOnTheWayLeavesNothingCommitted() throws IOException {
    for (long bytes : new long[] {0, 100, 5_000, 20_000}) {
      assertThatThrownBy(
              () ->
                  CheckpointFixture.write(
                      new FaultyStore(store).failingAfterBytes(bytes), 20, 2, 2, arena))
          .hasMessage("injected: no space left on device");
      assertThat(new CheckpointStore(store).committedSteps()).isEmpty();
    }
  }

  @Test
  void aFullDiskIsNoticedBeforeAnythingIsWritten() throws IOException {
    long needed = CheckpointStore.expectedBytes(MODEL, DType.F32);
    Store full = new FaultyStore(store).withUsableBytes(needed - 1);

    assertThatThrownBy(() -> new CheckpointStore(full).prepare(20, needed))
        .isInstanceOf(InsufficientSpaceException.class)
        .hasMessageMatching(
            "not enough space for the checkpoint of step 20: .* has \\d MB free, expected \\d MB; free some.*");
    assertThat(store.list("")).isEmpty();
  }

  @Test
  void theExpectedSizeIsAboveTheRealOne() throws IOException {
    CheckpointFixture.write(store, 1, 4, 1, arena);
    try (CheckpointReader reader = new CheckpointStore(store).open(1)) {
      long tensorBytes =
          Parameters.shapes(MODEL).stream().mapToLong(shape -> 12 * shape.numElements()).sum();
      long written = reader.manifest().files().stream().mapToLong(FileEntry::sizeBytes).sum();
      assertThat(CheckpointStore.expectedBytes(MODEL, DType.F32)).isGreaterThan(written);
      assertThat(written).isGreaterThan(tensorBytes);
    }
  }

  @Test
  void whatADeadWriterLeftIsRemovedByTheNext() throws IOException {
    CheckpointFixture.writeParts(store, 10, 2, 1, arena);
    assertThat(new CheckpointStore(store).newestValid().checkpoint()).isEmpty();

    CheckpointFixture.write(store, 20, 3, 1, arena);

    assertThat(store.list("checkpoints")).containsExactly("step-00000020");
  }

  @Test
  void aCheckpointWithARanksFilesMissingIsNotCommitted() throws IOException {
    List<FileEntry> files = CheckpointFixture.writeParts(store, 10, 2, 1, arena);
    List<FileEntry> some =
        files.stream().filter(file -> !file.name().contains("00001-of")).toList();
    assertThatThrownBy(() -> CheckpointFixture.commit(store, 10, 2, some))
        .hasMessageContaining("lacks 18 tensors such as model.layers.");

    List<FileEntry> twice = new ArrayList<>(files);
    twice.add(files.get(0));
    assertThatThrownBy(() -> CheckpointFixture.commit(store, 10, 2, twice))
        .hasMessageContaining("is written twice or no part of the model");

    store.delete("checkpoints/step-00000010/" + files.get(0).name());
    assertThatThrownBy(() -> CheckpointFixture.commit(store, 10, 2, files))
        .hasMessageContaining("the driver sees no such file");
    assertThat(new CheckpointStore(store).committedSteps()).isEmpty();
  }

  @Test
  void pruningKeepsTheNewestWholeOnesAndCountsNoDamagedOne() throws IOException {
    for (int step = 1; step <= 5; step++) {
      CheckpointFixture.write(store, step, 1, step, arena);
    }
    store.writeText("checkpoints/step-00000004/state.json", "{}");

    new CheckpointStore(store).prune(2);

    assertThat(new CheckpointStore(store).committedSteps()).containsExactly(3, 4, 5);
    store.writeText("checkpoints/step-00000005/state.json", "{}");
    new CheckpointStore(store).prune(2);
    assertThat(new CheckpointStore(store).committedSteps()).contains(3);
  }

  @Test
  void goingOnFromAnOlderCheckpointDropsTheLaterOnes() throws IOException {
    for (int step = 1; step <= 3; step++) {
      CheckpointFixture.write(store, step, 1, step, arena);
    }
    CheckpointStore checkpoints = new CheckpointStore(store);
    checkpoints.deleteAfter(1);

    assertThat(checkpoints.committedSteps()).containsExactly(1);
    assertThatThrownBy(() -> checkpoints.prepare(1, 0))
        .hasMessageContaining("step 1 in " + folder + " exists already");
  }

  @Test
  void residualsComeBackToTheirRank() throws IOException {
    try (Tensor residual = arena.zeros(DType.F32, 4);
        Tensor read = arena.zeros(DType.F32, 4)) {
      residual.copyFrom(1, 2, 3, 4);
      List<FileEntry> files = new ArrayList<>(CheckpointFixture.writeParts(store, 1, 1, 1, arena));
      files.add(
          new CheckpointStore(store).writer(1).writeResidual(0, Map.of("layers.0", residual)));
      CheckpointFixture.commit(store, 1, 1, files);

      try (CheckpointReader reader =
          new CheckpointStore(store).newestValid().checkpoint().orElseThrow()) {
        assertThat(reader.hasResidual(0)).isTrue();
        assertThat(reader.hasResidual(1)).isFalse();
        reader.readResidual(0, Map.of("layers.0", read));
        assertThat(read.toFloatArray()).containsExactly(1, 2, 3, 4);
      }
    }
  }

  @Test
  void anotherModelIsRefusedByItsFirstDifference() throws IOException {
    CheckpointFixture.write(store, 1, 1, 1, arena);
    ModelConfig other =
        new ModelConfig(
            11,
            8,
            2,
            1,
            2,
            4,
            4,
            4,
            2,
            4,
            12,
            6,
            6,
            2,
            3,
            2,
            1,
            2.5,
            true,
            1e-6,
            10_000,
            null,
            32,
            1,
            ModelConfig.MtpHidden.POST_NORM,
            0.02);
    try (CheckpointReader reader = new CheckpointStore(store).open(1)) {
      reader.requireModel(MODEL);
      assertThatThrownBy(() -> reader.requireModel(other))
          .hasMessageContaining(
              "has model.moe_intermediate_size=4, this run has 6; take the same model");
    }
  }

  /** What a later program wrote asks for an update only when it is whole. */
  @Test
  void aFlippedBitOfTheFormatVersionIsDamage() throws IOException {
    CheckpointFixture.write(store, 10, 2, 1, arena);
    CheckpointFixture.write(store, 20, 2, 2, arena);
    Path manifest = folder.resolve("checkpoints/step-00000020/manifest.json");
    String text = Files.readString(manifest);
    Files.writeString(manifest, text.replace("\"formatVersion\" : 1", "\"formatVersion\" : 3"));

    assertThat(Files.readString(manifest)).isNotEqualTo(text);
    assertFallsBackTo10(manifest);
  }

  @Test
  void aLaterFormatAsksForAnUpdate() throws IOException {
    store.writeText("c/manifest.json", "{\"formatVersion\": 2}");

    assertThatThrownBy(() -> CheckpointReader.open(store, "c"))
        .isInstanceOf(FormatTooNewException.class)
        .hasMessage(
            folder
                + "/c/manifest.json has format version 2, this program reads up to 1; update spark-moe to"
                + " read it");
    store.writeText("c/manifest.json", "[");
    assertThatThrownBy(() -> CheckpointReader.open(store, "c"))
        .isInstanceOf(CorruptFileException.class)
        .hasMessage(folder + "/c/manifest.json is damaged: it is not JSON");
  }

  private void assertFallsBackTo10(Path damaged) throws IOException {
    CheckpointStore.Newest newest = new CheckpointStore(store).newestValid();
    try (CheckpointReader reader = newest.checkpoint().orElseThrow()) {
      assertThat(reader.manifest().step()).isEqualTo(10);
      assertThat(newest.damaged()).singleElement().asString().startsWith(damaged + " is damaged: ");
    }
  }

  private String digestOf(int step) throws IOException {
    try (CheckpointReader reader = new CheckpointStore(store).open(step)) {
      assertThat(reader.manifest().weightsSha256()).isEqualTo(WeightsDigest.of(reader));
      return reader.manifest().weightsSha256();
    }
  }

  private String expectedDigest(long seed) throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    try (Parameters all = Parameters.allocateAll(MODEL, DType.F32, arena)) {
      all.initialize(seed);
      Map<String, Tensor> sorted = new TreeMap<>();
      all.all().forEach(parameter -> sorted.put(parameter.name(), parameter.value()));
      for (Tensor tensor : sorted.values()) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * tensor.size()).order(ByteOrder.LITTLE_ENDIAN);
        for (float value : tensor.toFloatArray()) {
          bytes.putFloat(value);
        }
        digest.update(bytes.array());
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static void assertEqual(Parameters expected, Parameters actual) {
    for (Parameter parameter : expected.all()) {
      if (!parameter.name().endsWith("e_score_correction_bias")) {
        assertThat(actual.find(parameter.name()).value().toFloatArray())
            .as(parameter.name())
            .containsExactly(parameter.value().toFloatArray());
      }
    }
  }
}
