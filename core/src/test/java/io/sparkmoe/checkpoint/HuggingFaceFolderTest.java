package io.sparkmoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.TensorShape;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Tensor;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class HuggingFaceFolderTest {

  /** Above one block, so that scales have rows, columns and cut edges. */
  private static final ModelConfig MODEL = CheckpointFixture.withWidth(130, 150);

  private static final String DENSE = "model.layers.0.mlp.gate_proj.weight";

  @TempDir Path folder;
  private Arena arena;
  private Parameters weights;
  private final Map<String, float[]> values = new LinkedHashMap<>();

  @BeforeEach
  void drawWeights() {
    arena = new Arena("test", 64L << 20);
    weights = Parameters.allocateAll(MODEL, DType.F32, arena);
    Random random = new Random(Long.getLong("moe.seed", 7));
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      float[] drawn = new float[(int) shape.numElements()];
      for (int i = 0; i < drawn.length; i++) {
        drawn[i] = (float) random.nextGaussian();
      }
      values.put(shape.name(), drawn);
    }
  }

  @AfterEach
  void closeArena() {
    weights.close();
    arena.close();
  }

  @Test
  void weightsOfEveryTypeReadAsTheyWereRounded() throws IOException {
    SafetensorsType[] types = {SafetensorsType.F32, SafetensorsType.BF16, SafetensorsType.F16};
    for (SafetensorsType type : types) {
      SafetensorsFile file = new SafetensorsFile();
      for (TensorShape shape : Parameters.shapes(MODEL)) {
        file.add(shape.name(), type, shape.shape(), values.get(shape.name()));
      }
      file.write(folder.resolve("model.safetensors"));
      config(json -> {});

      read();

      for (Parameter parameter : weights.all()) {
        float[] expected = values.get(parameter.name()).clone();
        for (int i = 0; i < expected.length; i++) {
          expected[i] = rounded(expected[i], type);
        }
        assertThat(parameter.value().toFloatArray()).as(parameter.name()).isEqualTo(expected);
      }
    }
  }

  /** value = code * scale of its block, the last blocks of a row and a column being cut off. */
  @Test
  void fp8CodesAreMultipliedByTheScaleOfTheirBlock() throws IOException {
    for (SafetensorsType scaleType : List.of(SafetensorsType.F32, SafetensorsType.F8_E8M0)) {
      SafetensorsFile file = new SafetensorsFile();
      Map<String, float[]> scales = new LinkedHashMap<>();
      Random random = new Random(3);
      for (TensorShape shape : Parameters.shapes(MODEL)) {
        float[] drawn = values.get(shape.name());
        if (!shape.name().endsWith("_proj.weight")) {
          file.add(shape.name(), SafetensorsType.BF16, shape.shape(), drawn);
          continue;
        }
        int[] grid = {blocks(shape.shape()[0]), blocks(shape.shape()[1])};
        float[] scale = new float[grid[0] * grid[1]];
        for (int i = 0; i < scale.length; i++) {
          int exponent = random.nextInt(9) - 6;
          scale[i] =
              Math.scalb(scaleType == SafetensorsType.F32 ? 1 + random.nextFloat() : 1, exponent);
        }
        scales.put(shape.name(), scale);
        file.add(shape.name(), SafetensorsType.F8_E4M3, shape.shape(), drawn);
        file.add(shape.name() + "_scale_inv", scaleType, grid, scale);
      }
      file.write(folder.resolve("model.safetensors"));
      config(
          json ->
              json.putObject("quantization_config")
                  .put("quant_method", "fp8")
                  .put("fmt", "e4m3")
                  .putArray("weight_block_size")
                  .add(128)
                  .add(128));

      read();

      assertThat(scales).hasSizeGreaterThan(20);
      assertThat(scales.get(DENSE)).hasSize(4);
      for (Map.Entry<String, float[]> entry : scales.entrySet()) {
        Tensor read = weights.find(entry.getKey()).value();
        float[] drawn = values.get(entry.getKey());
        int columns = read.cols();
        for (int i = 0; i < drawn.length; i++) {
          float scale = entry.getValue()[i / columns / 128 * blocks(columns) + i % columns / 128];
          assertThat(read.getFloat(i))
              .as("%s[%d]", entry.getKey(), i)
              .isEqualTo(Fp8Format.E4M3.decode(Fp8Format.E4M3.encode(drawn[i])) * scale);
        }
      }
    }
  }

  @Test
  void shardsAreFoundThroughTheIndex() throws IOException {
    writeShards(List.of());

    read();

    for (Parameter parameter : weights.all()) {
      assertThat(parameter.value().toFloatArray()).isEqualTo(values.get(parameter.name()));
    }
  }

  /** transformers leaves the MTP layer out when it saves, and config.json still counts it. */
  @Test
  void withoutItsWeightsTheMtpModuleIsLeftOut() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      if (!shape.name().startsWith("model.layers." + MODEL.numHiddenLayers())) {
        file.add(shape.name(), SafetensorsType.F32, shape.shape(), values.get(shape.name()));
      }
    }
    file.write(folder.resolve("model.safetensors"));
    config(json -> {});

    try (HuggingFaceFolder opened = HuggingFaceFolder.open(new LocalStore(folder), "")) {
      assertThat(opened.model().numMtpModules()).isZero();
    }
  }

  @Test
  void copiesOfEmbeddingAndHeadInTheMtpLayerAreNotRead() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    addAll(file);
    String mtp = Parameters.layerPrefix(MODEL.numHiddenLayers());
    file.add(mtp + "embed_tokens.weight", SafetensorsType.F32, new int[] {1}, new float[1]);
    file.add(mtp + "shared_head.head.weight", SafetensorsType.F32, new int[] {1}, new float[1]);
    file.write(folder.resolve("model.safetensors"));
    config(json -> json.remove("num_nextn_predict_layers"));

    try (HuggingFaceFolder opened = HuggingFaceFolder.open(new LocalStore(folder), "")) {
      assertThat(opened.model().numMtpModules()).isEqualTo(1);
      opened.readWeights(weights);
    }
  }

  @Test
  void keysThatNobodyKnowsAreNotedAndEndOfTextIdsRead() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    addAll(file);
    file.write(folder.resolve("model.safetensors"));
    config(json -> json.put("flavour", "sweet").put("eos_token_id", 3));

    try (HuggingFaceFolder opened = HuggingFaceFolder.open(new LocalStore(folder), "")) {
      assertThat(opened.notes()).anyMatch(note -> note.startsWith("model.flavour is ignored"));
      assertThat(opened.endOfTextIds()).containsExactly(3);
      Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": [1, 2]}");
      assertThat(opened.endOfTextIds()).containsExactly(1, 2);
      assertThat(opened.tokenizerJson()).isEmpty();
    }
  }

  /** The template's cases are those of transformers 5.24 on such folders. */
  @Test
  void whatStandsBeforeEveryTextIsReadFromTheTokenizersFiles() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    addAll(file);
    file.write(folder.resolve("model.safetensors"));
    config(json -> {});
    String template =
        "{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>','type_id':0}},"
            + "{'Sequence':{'id':'A','type_id':0}},{'SpecialToken':{'id':'</s>','type_id':0}}],"
            + "'special_tokens':{'<s>':{'id':'<s>','ids':[7],'tokens':['<s>']},"
            + "'</s>':{'id':'</s>','ids':[8],'tokens':['</s>']}}}";
    String bytes = "{'type':'ByteLevel'}";
    String sequence = "{'type':'Sequence','processors':[" + bytes + "," + template + "]}";

    try (HuggingFaceFolder opened = HuggingFaceFolder.open(new LocalStore(folder), "")) {
      assertThat(opened.beginOfTextIds()).as("no tokenizer").isEmpty();
      for (String processor : List.of(template, sequence)) {
        tokenizer(processor);
        assertThat(opened.beginOfTextIds()).containsExactly(7);
      }
      for (String processor : List.of("null", bytes)) {
        tokenizer(processor);
        assertThat(opened.beginOfTextIds()).isEmpty();
      }
      tokenizerConfig("{'add_bos_token':true,'bos_token':'<s>'}");
      assertThat(opened.beginOfTextIds()).containsExactly(7);
      tokenizerConfig("{'add_bos_token':true,'bos_token':{'content':'</s>'}}");
      assertThat(opened.beginOfTextIds()).containsExactly(8);
      tokenizerConfig("{'add_bos_token':true,'bos_token':null}");
      assertThat(opened.beginOfTextIds()).isEmpty();
      tokenizer(template);
      tokenizerConfig("{'add_bos_token':false,'bos_token':'<s>'}");
      assertThat(opened.beginOfTextIds()).isEmpty();
      tokenizerConfig("{'bos_token':'</s>'}");
      assertThat(opened.beginOfTextIds()).containsExactly(7);
      tokenizerConfig("{'add_bos_token':true,'bos_token':'<other>'}");
      assertThatThrownBy(opened::beginOfTextIds)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageEndingWith(
              "tokenizer.json has no token <other>, expected the bos_token of"
                  + " tokenizer_config.json; take both files from one place");
    }
  }

  private void tokenizer(String postProcessor) throws IOException {
    String json =
        "{'added_tokens':[{'id':7,'content':'<s>'},{'id':8,'content':'</s>'}],'post_processor':"
            + postProcessor
            + "}";
    Files.writeString(folder.resolve("tokenizer.json"), json.replace('\'', '"'));
  }

  private void tokenizerConfig(String json) throws IOException {
    Files.writeString(folder.resolve("tokenizer_config.json"), json.replace('\'', '"'));
  }

  @Test
  void ourOwnCheckpointsModelFolderIsOne() throws IOException {
    LocalStore store = new LocalStore(folder);
    CheckpointFixture.write(store, 1, 2, 5, arena);

    try (HuggingFaceFolder opened =
            HuggingFaceFolder.open(store, CheckpointStore.folder(1) + "/model");
        CheckpointReader checkpoint = new CheckpointStore(store).open(1);
        Parameters ours = Parameters.allocateAll(CheckpointFixture.MODEL, DType.F32, arena);
        Parameters theirs = Parameters.allocateAll(CheckpointFixture.MODEL, DType.F32, arena)) {
      checkpoint.readWeights(ours);
      opened.readWeights(theirs);
      for (Parameter parameter : ours.all()) {
        assertThat(theirs.find(parameter.name()).value().toFloatArray())
            .isEqualTo(parameter.value().toFloatArray());
      }
    }
  }

  @Test
  void theModelFolderOfAnUncommittedCheckpointIsRefused() throws IOException {
    LocalStore store = new LocalStore(folder);
    CheckpointFixture.write(store, 1, 2, 5, arena);
    store.delete(CheckpointStore.folder(1) + "/manifest.json");

    assertThatThrownBy(() -> HuggingFaceFolder.open(store, CheckpointStore.folder(1) + "/model"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("belongs to a checkpoint that was never committed");
  }

  @Test
  void aTensorOfAnotherShapeIsNamedWithBothShapes() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      int[] dims = shape.shape();
      if (shape.name().equals(DENSE)) {
        dims = new int[] {dims[1], dims[0]};
      }
      file.add(shape.name(), SafetensorsType.F32, dims, values.get(shape.name()));
    }
    file.write(folder.resolve("model.safetensors"));
    config(json -> {});

    assertRefused("tensor " + DENSE + " of " + folder + "/model.safetensors is F32[130, 150]");
    assertRefused("expected the shape [150, 130] by config.json");
  }

  @Test
  void missingTensorsAndScalesAreNamed() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      boolean dense = shape.name().equals(DENSE);
      file.add(
          shape.name(),
          dense ? SafetensorsType.F8_E4M3 : SafetensorsType.F32,
          shape.shape(),
          values.get(shape.name()));
    }
    file.write(folder.resolve("model.safetensors"));
    config(json -> {});
    assertRefused("tensor " + DENSE + "_scale_inv is missing");

    writeShards(List.of("model.norm.weight"));
    assertRefused("tensor model.norm.weight is missing");
  }

  @Test
  void scalesOfAnotherGridAreRefused() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      boolean dense = shape.name().equals(DENSE);
      file.add(
          shape.name(),
          dense ? SafetensorsType.F8_E4M3 : SafetensorsType.F32,
          shape.shape(),
          values.get(shape.name()));
    }
    file.add(DENSE + "_scale_inv", SafetensorsType.F32, new int[] {1, 2}, new float[2]);
    file.write(folder.resolve("model.safetensors"));
    config(json -> {});

    assertRefused("is F32[1, 2], expected F32[2, 2] for a weight [150, 130]");
  }

  @Test
  void aScaleThatIsNoPositiveNumberIsRefused() throws IOException {
    SafetensorsFile file = new SafetensorsFile();
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      boolean dense = shape.name().equals(DENSE);
      file.add(
          shape.name(),
          dense ? SafetensorsType.F8_E4M3 : SafetensorsType.F32,
          shape.shape(),
          values.get(shape.name()));
    }
    file.add(
        DENSE + "_scale_inv",
        SafetensorsType.F32,
        new int[] {2, 2},
        new float[] {1, 1, Float.NaN, 1});
    file.write(folder.resolve("model.safetensors"));
    config(json -> {});

    assertThatThrownBy(this::read)
        .isInstanceOf(CorruptFileException.class)
        .hasMessageContaining("_scale_inv holds NaN, expected positive scales");
  }

  @Test
  void truncatedAndMissingFilesAreRefused() throws IOException {
    writeShards(List.of());
    Path shard = folder.resolve("model-00002-of-00002.safetensors");
    byte[] whole = Files.readAllBytes(shard);
    Files.write(shard, Arrays.copyOf(whole, whole.length - 1));
    assertThatThrownBy(this::read)
        .isInstanceOf(CorruptFileException.class)
        .hasMessageContaining(shard + " is damaged: its tensors take");

    Files.delete(shard);
    assertThatThrownBy(this::read)
        .isInstanceOf(FileNotFoundException.class)
        .hasMessageContaining(shard + " is missing");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          {"weight_map":{"w":"../other.safetensors"}}                     | names the file '../other.safetensors'
          {"weight_map":{"w":"model.bin"}}                                | names the file 'model.bin'
          {"weight_map":{"w":"model-00001-of-00002.safetensors"}}         | holds tensor w, which is in no file
          []                                                              | it is no JSON object
          {                                                               | it is not JSON
          """)
  void anIndexThatLiesIsRefused(String index, String problem) throws IOException {
    writeShards(List.of());
    Files.writeString(folder.resolve("model.safetensors.index.json"), index);

    assertThatThrownBy(this::read)
        .isInstanceOf(CorruptFileException.class)
        .hasMessageContaining(problem);
  }

  @Test
  void anotherQuantisationIsRefused() throws IOException {
    writeShards(List.of());
    config(json -> json.putObject("quantization_config").put("quant_method", "awq"));
    assertRefused("quantization_config is awq");

    config(json -> json.put("model_type", "llama"));
    assertRefused("model_type is llama, only deepseek_v3 is implemented");
  }

  private interface Change {
    void apply(ObjectNode json);
  }

  private void config(Change change) throws IOException {
    ObjectNode json = HuggingFaceConfig.toJson(MODEL);
    change.apply(json);
    Files.writeString(folder.resolve("config.json"), json.toString());
  }

  private void addAll(SafetensorsFile file) {
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      file.add(shape.name(), SafetensorsType.F32, shape.shape(), values.get(shape.name()));
    }
  }

  /** Every second tensor in another file, with an index. */
  private void writeShards(List<String> without) throws IOException {
    SafetensorsFile[] files = {new SafetensorsFile(), new SafetensorsFile()};
    ObjectNode index = new ObjectMapper().createObjectNode();
    ObjectNode fileOf = index.putObject("weight_map");
    int next = 0;
    for (TensorShape shape : Parameters.shapes(MODEL)) {
      if (without.contains(shape.name())) {
        continue;
      }
      int shard = next++ % 2;
      files[shard].add(shape.name(), SafetensorsType.F32, shape.shape(), values.get(shape.name()));
      fileOf.put(shape.name(), "model-0000" + (shard + 1) + "-of-00002.safetensors");
    }
    for (int shard = 0; shard < 2; shard++) {
      files[shard].write(folder.resolve("model-0000" + (shard + 1) + "-of-00002.safetensors"));
    }
    Files.writeString(folder.resolve("model.safetensors.index.json"), index.toString());
    config(json -> {});
  }

  private void read() throws IOException {
    try (HuggingFaceFolder opened = HuggingFaceFolder.open(new LocalStore(folder), "")) {
      assertThat(opened.model()).isEqualTo(MODEL);
      opened.readWeights(weights);
    }
  }

  private void assertRefused(String message) {
    assertThatThrownBy(this::read)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  private static int blocks(int size) {
    return (size + 127) / 128;
  }

  private static float rounded(float value, SafetensorsType type) {
    return switch (type) {
      case BF16 -> Bfloat16.decode(Bfloat16.encode(value));
      // The mantissa's 13 last bits go; values this small round to multiples of 2^-24.
      case F16 -> {
        double step = Math.max(Math.ulp(value) * 8192.0, 0x1p-24);
        yield (float) (Math.rint(value / step) * step);
      }
      default -> value;
    };
  }
}
