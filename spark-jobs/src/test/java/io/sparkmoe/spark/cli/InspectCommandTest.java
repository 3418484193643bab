package io.sparkmoe.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.checkpoint.CheckpointWriter;
import io.sparkmoe.checkpoint.CheckpointWriter.RunState;
import io.sparkmoe.checkpoint.FileEntry;
import io.sparkmoe.checkpoint.Moments;
import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunConfigJson;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class InspectCommandTest {

  @TempDir Path folder;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  @Test
  void deepSeekV3PrintsItsThreeCountsWithoutItsWeights() throws IOException {
    JsonNode parameters = json("inspect", "deepseek-v3", "--json").path("parameters");
    assertThat(parameters.path("total").asLong()).isEqualTo(671_026_419_200L);
    assertThat(parameters.path("active").path("withEmbeddingAndHead").asLong())
        .isEqualTo(37_552_297_472L);
    assertThat(parameters.path("active").path("withHead").asLong()).isEqualTo(36_625_618_432L);
    assertThat(parameters.path("active").path("withNeither").asLong()).isEqualTo(35_698_939_392L);

    out.reset();
    assertThat(run("inspect", "deepseek-v3", "--executors", "64")).isZero();
    assertThat(text())
        .startsWith("preset deepseek-v3\n")
        .contains("671,026,419,200", "653,908,770,816  97.45 % of total", "11,610,068,224  besides")
        .contains("memory of one of 64 executors");
  }

  @Test
  void aSettingChangesWhatIsInspected() throws IOException {
    long all = json("inspect", "tiny", "--json").path("parameters").path("routed").asLong();
    long half =
        json("inspect", "tiny", "--json", "--set", "n_routed_experts=8")
            .path("parameters")
            .path("routed")
            .asLong();
    assertThat(all).isEqualTo(2 * half);
  }

  @Test
  void aCheckpointShowsItsManifestAndVerifies() throws IOException {
    RunConfig config = tiny();
    writeCheckpoint(30, RunConfigJson.toJson(config));

    JsonNode shown = json("inspect", folder.toString(), "--json", "--verify");

    assertThat(shown.path("checkpoint").path("step").asInt()).isEqualTo(30);
    assertThat(shown.path("checkpoint").path("verified").asBoolean()).isTrue();
    assertThat(shown.path("checkpoint").path("files").size()).isEqualTo(9);
    assertThat(shown.path("memoryBytes").path("executors").asInt()).isEqualTo(1);
    assertThat(RunConfigJson.fromJson(shown.path("config"))).isEqualTo(config);
    out.reset();
    assertThat(run("inspect", folder.resolve("checkpoints/step-00000030").toString())).isZero();
    assertThat(text()).contains("checkpoint of step 30, written by 1 ranks with reference GEMM");
  }

  @Test
  void configFilesOfBothKindsAreInspected() throws IOException {
    long tiny = json("inspect", "tiny", "--json").path("parameters").path("total").asLong();
    Path yaml =
        Files.writeString(
            folder.resolve("tiny.yaml"), RunConfigJson.toJson(tiny()).toPrettyString());
    Path huggingFace =
        Files.writeString(
            folder.resolve("config.json"),
            HuggingFaceConfig.toJson(tiny().model()).put("model_type", "deepseek_v3").toString());

    for (Path file : List.of(yaml, huggingFace)) {
      JsonNode shown = json("inspect", file.toString(), "--json", "--batch", "4", "--seq", "32");
      assertThat(shown.path("source").asText()).isEqualTo("config " + file);
      assertThat(shown.path("parameters").path("total").asLong()).isEqualTo(tiny);
      assertThat(shown.path("config").path("train").path("batch_sequences").asInt()).isEqualTo(4);
    }
    assertThat(run("inspect", folder.resolve("none.yaml").toString())).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .startsWith("moe: no such config: got " + folder.resolve("none.yaml"));
  }

  @Test
  void optionsThatDoNothingAreRefused() throws IOException {
    writeCheckpoint(30, RunConfigJson.toJson(tiny()));

    assertThat(run("inspect", folder.toString(), "--set", "n_routed_experts=8")).isEqualTo(2);
    assertThat(run("inspect", "tiny", "--verify")).isEqualTo(2);
    assertThat(text()).isEmpty();
    assertThat(err.toString(StandardCharsets.UTF_8).lines())
        .containsExactly(
            "moe: --set, --batch, --seq and --precision go with a config: got a checkpoint, which"
                + " has its own, expected a preset or file; leave them out",
            "moe: --verify goes with a checkpoint: got preset tiny, which has no checksums,"
                + " expected the folder of a checkpoint or run; leave it out or name one");
  }

  /** The largest sizes that are allowed must still be counted in longs. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "hidden_size=262144 intermediate_size=262144 moe_intermediate_size=262144"
            + " vocab_size=16777216 n_routed_experts=65536",
        "num_hidden_layers=4096 n_routed_experts=64 hidden_size=262144",
        "train.batch_sequences=1048576 train.seq_len=16777216" + " max_position_embeddings=16777216"
      })
  void theLargestSizesDoNotOverflow(String settings) throws IOException {
    List<String> words = new ArrayList<>(List.of("inspect", "tiny", "--json"));
    for (String setting : settings.split(" ")) {
      words.addAll(List.of("--set", setting));
    }
    JsonNode shown = json(words.toArray(String[]::new));
    for (String group : List.of("parameters", "memoryBytes", "wireBytes")) {
      for (JsonNode number : shown.path(group)) {
        assertThat(number.isNumber() ? number.asDouble() : 0)
            .as("%s of %s", group, settings)
            .isNotNegative();
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hidden_size=2000000000",
        "n_routed_experts=2147483640",
        "num_hidden_layers=100000000",
        "train.batch_sequences=2000000000"
      })
  void sizesBeyondAnyModelAreRefusedAtOnce(String setting) {
    assertThat(run("inspect", "tiny", "--set", setting)).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .startsWith("moe: impossible config: ")
        .contains(setting.substring(setting.indexOf('=') + 1))
        .hasLineCount(1);
  }

  @Test
  void keysThatAnOlderProgramDidNotKnowCountAsTheirDefaults() throws IOException {
    ObjectNode older = RunConfigJson.toJson(tiny());
    older.remove("distill");
    ((ObjectNode) older.path("train")).remove("recompute");
    writeCheckpoint(30, older);

    JsonNode shown = json("inspect", folder.toString(), "--json");

    assertThat(RunConfigJson.fromJson(shown.path("config"))).isEqualTo(tiny());
  }

  @Test
  void aDamagedFileIsNamedByVerify() throws IOException {
    writeCheckpoint(30, RunConfigJson.toJson(tiny()));
    Path file = folder.resolve("checkpoints/step-00000030/model/gates.safetensors");
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length - 1] ^= 1;
    Files.write(file, bytes);

    assertThat(run("inspect", folder.toString())).isZero();
    assertThat(run("inspect", folder.toString(), "--verify")).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .startsWith("moe: " + file + " is damaged: it has the SHA-256 ")
        .hasLineCount(1);
  }

  @Test
  void aFolderOfSomethingElseIsRefused() throws IOException {
    Files.writeString(folder.resolve("notes.txt"), "");

    assertThat(run("inspect", folder.toString())).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .startsWith(
            "moe: nothing to inspect: " + folder + " holds neither manifest.json nor checkpoints");
  }

  private static RunConfig tiny() {
    return new ConfigResolver().preset("tiny").resolve().toRunConfig();
  }

  private void writeCheckpoint(int step, JsonNode config) throws IOException {
    ModelConfig model = tiny().model();
    CheckpointStore checkpoints = new CheckpointStore(new LocalStore(folder));
    checkpoints.prepare(step, CheckpointStore.expectedBytes(model, DType.F32));
    CheckpointWriter writer = checkpoints.writer(step);
    List<FileEntry> files = new ArrayList<>();
    try (Arena arena = new Arena("test", 64L << 20);
        Parameters all = Parameters.allocateAll(model, DType.F32, arena)) {
      all.initialize(1);
      Moments moments =
          Moments.of(all, name -> all.find(name).value(), name -> all.find(name).value());
      files.addAll(writer.writeExperts(0, 1, all, moments));
      files.addAll(writer.writeReplicated(all, moments));
      files.addAll(writer.writeGates(all, moments));
    }
    JsonNodeFactory json = JsonNodeFactory.instance;
    writer.commit(new RunState(model, config, json.objectNode(), 1, "reference", false), files);
  }

  private JsonNode json(String... words) throws IOException {
    out.reset();
    assertThat(run(words)).as(err.toString(StandardCharsets.UTF_8)).isZero();
    return new ObjectMapper().readTree(text());
  }

  private String text() {
    return out.toString(StandardCharsets.UTF_8);
  }

  private int run(String... words) {
    PrintStream toOut = new PrintStream(out, true);
    PrintStream toErr = new PrintStream(err, true);
    SparkJobs jobs = new SparkJobs(InputStream.nullInputStream(), toOut, toErr);
    return Main.run(words, jobs, toOut, toErr);
  }
}
