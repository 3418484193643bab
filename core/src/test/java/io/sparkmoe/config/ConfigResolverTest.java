package io.sparkmoe.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.annotation.JsonProperty;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.DistillConfig;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunConfigJson;
import io.sparkmoe.train.TrainConfig;
import io.sparkmoe.train.TrainConfig.Schedule;
import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class ConfigResolverTest {

  private static final Path DOCUMENT = Path.of("docs/config.md");

  @Test
  void laterLayersWinWhateverTheOrderOfTheCalls() {
    ResolvedConfig config =
        new ConfigResolver()
            .option("train.steps", 7, "--steps")
            .set(List.of("train.lr=0.1", "train.steps=6", "train.lr=0.2"))
            .conf(
                Map.of(
                    "spark.moe.train.lr",
                    "0.3",
                    "spark.moe.seed",
                    "9",
                    "spark.executor.cores",
                    "2"))
            .file("train.yaml", "train: {lr: 0.4, seed: 8, batch_sequences: 4, beta1: 0.8}")
            .preset("tiny")
            .resolve();

    assertThat(config.value("train.steps")).get().returns("--steps", ConfigValue::origin);
    assertThat(config.value("train.lr")).get().returns("--set train.lr", ConfigValue::origin);
    assertThat(config.value("train.seed"))
        .get()
        .returns("--conf spark.moe.seed", ConfigValue::origin);
    assertThat(config.value("train.batch_sequences"))
        .get()
        .returns("train.yaml", ConfigValue::origin);
    assertThat(config.value("train.seq_len")).get().returns("preset tiny", ConfigValue::origin);
    assertThat(config.value("train.beta2")).get().returns("default", ConfigValue::origin);
    TrainConfig train = config.toRunConfig().train();
    assertThat(train.steps()).isEqualTo(7);
    assertThat(train.lr()).isEqualTo(0.2);
    assertThat(train.seed()).isEqualTo(9);
    assertThat(train.batchSequences()).isEqualTo(4);
    assertThat(train.beta1()).isEqualTo(0.8);
    assertThat(train.minLr()).isEqualTo(0.02);
    assertThat(config.value("train.min_lr"))
        .get()
        .returns("a tenth of train.lr", ConfigValue::origin);
  }

  @Test
  void settingsOfTheTransportAreNotOurs() {
    new ConfigResolver()
        .preset("tiny")
        .conf(Map.of("spark.moe.io.numConnectionsPerPeer", "2", "spark.moe.driver.port", "7000"))
        .resolve()
        .toRunConfig();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          train.lrr=1             | got train.lrr from --set train.lrr, the nearest known one is train.lr
          leraning_rate=1         | the nearest known one is train.lr;
          train.batch_size=1      | the nearest known one is train.batch_sequences
          modle.hidden_sze=1      | the nearest known one is model.hidden_size
          cluster.lr=1            | the nearest known one is train.lr
          top_k=1                 | the nearest known one is model.num_experts_per_tok
          model.rope_parameters={a: 1}     | got model.rope_parameters.a from --set model.rope_parameters, the nearest
          rope_parameters={factr: 40}      | the nearest known one is model.rope_parameters.factor;
          """)
  void anUnknownKeyIsRefusedWithTheNearest(String assignment, String message) {
    ConfigResolver resolver = new ConfigResolver().preset("tiny");

    assertThatThrownBy(() -> resolver.set(List.of(assignment)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("unknown config key: ")
        .hasMessageContaining(message);
  }

  @Test
  void anUnknownKeyIsRefusedWhereverItStands() {
    ConfigResolver resolver = new ConfigResolver();
    assertThatThrownBy(() -> resolver.file("a.yaml", "train:\n  stepps: 3"))
        .hasMessage(
            "unknown config key: got train.stepps from a.yaml, the nearest known one is train.steps; correct it there");
    assertThatThrownBy(() -> resolver.conf(Map.of("spark.moe.train.stepps", "3")))
        .hasMessageContaining(
            "from --conf spark.moe.train.stepps, the nearest known one is train.steps");
    assertThatThrownBy(() -> resolver.file("a.yaml", "trian:\n  steps: 3"))
        .hasMessageContaining("got trian from a.yaml")
        .hasMessageContaining("the nearest known name is train");
    assertThatThrownBy(() -> resolver.file("a.yaml", "train: {null: 3}"))
        .hasMessageStartingWith("unknown config key: got train.null from a.yaml, the nearest");
    assertThatThrownBy(() -> resolver.file("a.yaml", "? \n: 3"))
        .hasMessageStartingWith("unknown config section: got null from a.yaml, expected model");
    assertThatThrownBy(() -> resolver.file("a.yaml", "steps: 3"))
        .hasMessageContaining("train.steps");
    assertThatThrownBy(() -> resolver.file("a.yaml", "train: 3"))
        .hasMessageContaining("train in a.yaml is 3");
    assertThatThrownBy(() -> resolver.file("a.yaml", ""))
        .hasMessageContaining("a.yaml holds no keys");
    assertThatThrownBy(() -> resolver.set(List.of("lr")))
        .hasMessageContaining("got lr, expected key=value");
    assertThatThrownBy(() -> resolver.preset("huge"))
        .hasMessageContaining("got huge, expected one of quickstart");
  }

  @Test
  void yamlThatNestsWithoutEndIsRefused() {
    for (String text : List.of("train: &a\n  x: *a\n", "train: " + "[".repeat(100_000))) {
      assertThatThrownBy(() -> new ConfigResolver().file("a.yaml", text))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("cannot read config: a.yaml nests ")
          .hasMessageNotContaining("\n");
    }
  }

  @Test
  void sizesThatNoMachineCountsAreRefused() {
    ConfigResolver config =
        new ConfigResolver()
            .preset("deepseek-v3")
            .set(List.of("train.batch_sequences=16777216", "train.seq_len=16777216"));
    assertThatThrownBy(() -> config.resolve().toRunConfig())
        .hasMessageMatching(
            "impossible config: train.batch_sequences times train.seq_len must be <= .* for this"
                + " model, got 2.81e\\+14; it comes from --set train.batch_sequences");
    assertThatThrownBy(
            () ->
                new ConfigResolver()
                    .preset("tiny")
                    .set(List.of("train.seq_len=2000000000"))
                    .resolve()
                    .toRunConfig())
        .hasMessageContaining("train.seq_len must be in [2, 16777216], got 2000000000");
  }

  @Test
  void aMistakeInYamlIsNamedWithItsPlace() {
    ConfigResolver resolver = new ConfigResolver();
    assertThatThrownBy(() -> resolver.file("a.yaml", "train:\n  lr: 1\n  steps: 2\n  lr: 3\n"))
        .hasMessage(
            "duplicate config key: a.yaml has it twice (line 4, column 3: found duplicate key lr),"
                + " expected every key once; delete one");
    assertThatThrownBy(() -> resolver.file("a.yaml", "train:\n  lr: [1\n  steps: 2\n"))
        .hasMessageStartingWith("cannot read config: a.yaml is not YAML (line 3, column 8: ")
        .hasMessageEndingWith("), expected key: value lines; correct it")
        .hasMessageNotContaining("\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          train.steps=many        | wrong value for train.steps: got 'many' from --set train.steps, expected an integer
          train.steps=3000000000  | wrong value for train.steps: got 3000000000 from --set train.steps, expected an integer from -2147483648 to 2147483647; correct it there
          vocab_size=5e9          | expected an integer from -2147483648 to 2147483647
          seed=1e30               | expected an integer from -9223372036854775808 to 9223372036854775807
          train.steps=1.5         | got 1.5 from --set train.steps, expected an integer
          train.lr=fast           | expected a number
          train.lr=.nan           | expected a number
          train.schedule=linear   | expected constant or cosine or wsd
          model.norm_topk_prob=7  | got 7 from --set model.norm_topk_prob, expected true or false
          combine_wire=fp8        | expected fp32 or bf16
          train.steps=[1          | is not YAML
          """)
  void aValueOfTheWrongTypeIsRefused(String assignment, String message) {
    ConfigResolver resolver = new ConfigResolver().preset("tiny");

    assertThatThrownBy(() -> resolver.set(List.of(assignment)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @Test
  void aSeedMayHave64Bits() {
    assertThat(
            new ConfigResolver()
                .preset("tiny")
                .set(List.of("seed=3000000000"))
                .resolve()
                .toRunConfig()
                .train()
                .seed())
        .isEqualTo(3_000_000_000L);
  }

  @Test
  void numbersMayBeWrittenInAnyUsualWay() {
    TrainConfig train =
        new ConfigResolver()
            .preset("tiny")
            .set(List.of("steps=1e3", "lr=.5", "min_lr=1E-3", "schedule=WSD", "eps=1"))
            .resolve()
            .toRunConfig()
            .train();
    assertThat(train.steps()).isEqualTo(1000);
    assertThat(train.lr()).isEqualTo(0.5);
    assertThat(train.minLr()).isEqualTo(0.001);
    assertThat(train.schedule()).isEqualTo(Schedule.WSD);
    assertThat(train.eps()).isEqualTo(1.0);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          qk_rope_head_dim=3     | model.qk_rope_head_dim must be even (rotary pairs), got 3; it comes from --set qk_rope_head_dim
          n_group=3              | model.n_routed_experts must be a multiple of n_group=3, got 16; model.n_group comes from --set n_group
          num_experts_per_tok=9  | must be in [1, topk_group*n_routed_experts/n_group=8], got 9
          topk_group=5           | model.topk_group must be in [1, n_group=4], got 5
          num_attention_heads=0  | model.num_attention_heads must be > 0, got 0
          train.steps=0          | train.steps must be >= 1, got 0
          min_lr=1               | train.min_lr must be in [0, lr=0.004], got 1.0; it comes from --set min_lr
          lr=1e-5 min_lr=1e-4    | train.min_lr must be in [0, lr=1.0E-5], got 1.0E-4; it comes from --set min_lr
          seq_len=129            | train.seq_len must be <= model.max_position_embeddings=128, got 129; it comes from --set seq_len
          train.eps=9e-13        | train.eps must be >= 1.0E-12, got 9.0E-13; it comes from --set train.eps
          deadline_seconds=0     | cluster.deadline_seconds must be >= 1, got 0
          """)
  void anImpossibleCombinationIsRefusedWithItsOrigin(String assignment, String message) {
    ResolvedConfig config =
        new ConfigResolver().preset("tiny").set(List.of(assignment.split(" "))).resolve();

    assertThatThrownBy(config::toRunConfig)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("impossible config: ")
        .hasMessageContaining(message);
  }

  @Test
  void aShapeThatNobodyGaveIsAskedFor() {
    assertThatThrownBy(() -> new ConfigResolver().resolve().toRunConfig())
        .hasMessage(
            "incomplete config: model.vocab_size is missing, expected an integer; set it, or start from a preset"
                + " (quickstart, bench-small, dense-small, tiny, deepseek-v3, char-teacher, char-student)");
  }

  @Test
  void theTokenizerGivesTheVocabularyUnlessAPersonDid() {
    ResolvedConfig preset = new ConfigResolver().preset("quickstart").resolve();
    assertThat(preset.withTokenizer(512, "data").toRunConfig().model().vocabSize()).isEqualTo(512);
    assertThat(preset.withTokenizer(512, "data").toYaml()).contains("# tokenizer of data");

    ResolvedConfig roomy =
        new ConfigResolver().preset("quickstart").set(List.of("vocab_size=1024")).resolve();
    assertThat(roomy.withTokenizer(512, "data").toRunConfig().model().vocabSize()).isEqualTo(1024);
    assertThatThrownBy(() -> roomy.withTokenizer(4096, "data"))
        .hasMessage(
            "vocabulary too small: model.vocab_size is 1024 from --set vocab_size, the tokenizer of data has 4096 ids;"
                + " leave the key out");
  }

  static Stream<String> presets() {
    return Presets.names().stream();
  }

  @ParameterizedTest
  @MethodSource("presets")
  void theWrittenConfigReadsBackAsTheSameRun(String preset) {
    ResolvedConfig config =
        new ConfigResolver()
            .preset(preset)
            .set(List.of("train.lr=0.00123", "beta1=0.85"))
            .resolve();
    RunConfig run = config.toRunConfig();

    assertThat(new ConfigResolver().file("config.yaml", config.toYaml()).resolve().toRunConfig())
        .isEqualTo(run);
    assertThat(RunConfigJson.fromJson(RunConfigJson.toJson(run))).isEqualTo(run);
    assertThat(config.toYaml())
        .contains("# --set train.lr")
        .contains("# preset " + preset)
        .contains("# default");
    assertThat(HuggingFaceConfig.fromJson(HuggingFaceConfig.toJson(run.model()), note -> {}))
        .isEqualTo(run.model());
  }

  @Test
  void theLocalEnginesConfigSaysWhatRuns() {
    ResolvedConfig given =
        new ConfigResolver()
            .preset("quickstart")
            .set(List.of("combine_wire=fp32", "deadline_seconds=7"))
            .resolve();
    ResolvedConfig local = given.forLocalEngine("--engine local");

    assertThat(local.toRunConfig()).isEqualTo(given.toRunConfig().forLocalEngine());
    assertThat(new ConfigResolver().file("config.yaml", local.toYaml()).resolve().toRunConfig())
        .isEqualTo(local.toRunConfig());
    assertThat(local.toYaml().lines().map(line -> line.strip().replaceAll(" +", " ")))
        .contains(
            "gate_placement: \"executor\" # --engine local",
            "gradient_wire: \"fp32\" # --engine local",
            "dispatch_wire: \"fp32\" # --engine local",
            "combine_wire: \"fp32\" # --set combine_wire",
            "deadline_seconds: 7 # --set deadline_seconds");
  }

  @Test
  void aPublishedConfigMayStandForTheModelSection() {
    ConfigResolver resolver = new ConfigResolver().preset("tiny");
    String json =
        """
        {"model_type": "deepseek_v3", "q_lora_rank": null, "hidden_size": 64, "torch_dtype": "bfloat16",
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "beta_fast": 32, "beta_slow": 1,
                             "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 32}}
        """;
    ResolvedConfig pasted = resolver.file("config.json", json).resolve();
    ResolvedConfig below =
        new ConfigResolver()
            .preset("tiny")
            .file("t.yaml", "model: " + json.replace("\n", " "))
            .resolve();

    assertThat(pasted.toRunConfig().model().qLoraRank()).isZero();
    assertThat(pasted.toRunConfig().model().ropeTheta()).isEqualTo(5000);
    assertThat(pasted.toRunConfig().model().yarn().factor()).isEqualTo(4);
    assertThat(pasted.notes())
        .containsExactly(
            "config.json: model.torch_dtype is ignored: it changes nothing in training");
    assertThat(below.toRunConfig()).isEqualTo(pasted.toRunConfig());
    assertThatThrownBy(
            () ->
                resolver.file(
                    "c.json", "{\"model_type\": \"deepseek_v3\", \"scoring_func\": \"softmax\"}"))
        .hasMessageContaining("scoring_func is softmax, only sigmoid is implemented");
  }

  @Test
  void aRopeScalingWithoutItsTypeIsRefused() {
    ConfigResolver resolver = new ConfigResolver().preset("tiny");
    String sentence =
        "model.rope_parameters has factor but no rope_type, expected rope_type: yarn (or default,"
            + " for no scaling) beside it; add it";
    assertThatThrownBy(() -> resolver.set(List.of("model.rope_parameters={factor: 40}")))
        .hasMessage(sentence);
    assertThatThrownBy(() -> resolver.file("a.yaml", "model: {rope_parameters: {factor: 40}}"))
        .hasMessage(sentence);
    resolver.set(List.of("model.rope_parameters={rope_type: default, factor: 40}"));
    assertThat(resolver.resolve().toRunConfig().model().yarn()).isNull();
    resolver.set(List.of("model.rope_parameters={rope_theta: 5000}"));
    assertThat(resolver.resolve().toRunConfig().model().ropeTheta()).isEqualTo(5000);
    resolver.set(List.of("model.rope_parameters={type: yarn, factor: 40}"));
  }

  @Test
  void everyComponentOfTheRecordsIsAKeyAndNothingElse() {
    List<String> expected =
        Stream.of(
                HuggingFaceConfig.KEYS.stream().map(key -> "model." + key),
                components("train.", TrainConfig.class),
                components("cluster.", ClusterConfig.class),
                components("distill.", DistillConfig.class))
            .flatMap(keys -> keys)
            .toList();
    assertThat(ConfigKeys.all().stream().map(ConfigKey::fullName))
        .containsExactlyElementsOf(expected);
  }

  @Test
  void theBuiltInClusterIsTheClustersOwnDefault() {
    assertThat(new ConfigResolver().preset("quickstart").resolve().toRunConfig().cluster())
        .isEqualTo(ClusterConfig.defaults());
    assertThat(new ConfigResolver().preset("tiny").resolve().toRunConfig().cluster())
        .isEqualTo(ClusterConfig.defaults().withWires(Wire.FP32, Wire.FP32, Wire.FP32));
    assertThat(new ConfigResolver().preset("tiny").resolve().toRunConfig().distill())
        .isEqualTo(DistillConfig.defaults());
  }

  /** Run with -Dmoe.writeDocs=true to write the document anew. */
  @Test
  void theDocumentListsEveryKey() throws IOException {
    if (Boolean.getBoolean("moe.writeDocs")) {
      Files.writeString(DOCUMENT, ConfigTable.markdown());
    }
    assertThat(Files.readString(DOCUMENT))
        .as("docs/config.md; write it anew with -Dtest=ConfigResolverTest -Dmoe.writeDocs=true")
        .isEqualTo(ConfigTable.markdown());
  }

  @Test
  void distancesCountInsertionsDeletionsReplacementsAndSwaps() {
    assertThat(NearestName.distance("lr", "lr")).isZero();
    assertThat(NearestName.distance("", "abc")).isEqualTo(3);
    assertThat(NearestName.distance("stpes", "steps")).isEqualTo(1);
    assertThat(NearestName.distance("kitten", "sitting")).isEqualTo(3);
  }

  private static Stream<String> components(String prefix, Class<? extends Record> type) {
    return Stream.of(type.getRecordComponents())
        .map(ConfigResolverTest::key)
        .map(key -> prefix + key);
  }

  private static String key(RecordComponent component) {
    try {
      return component
          .getDeclaringRecord()
          .getDeclaredField(component.getName())
          .getAnnotation(JsonProperty.class)
          .value();
    } catch (NoSuchFieldException e) {
      throw new AssertionError(e);
    }
  }
}
