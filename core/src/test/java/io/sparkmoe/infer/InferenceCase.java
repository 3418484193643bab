package io.sparkmoe.infer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.SafetensorsReader;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;

/** The same weights in the training model, whose full forward is the truth, and in inference. */
final class InferenceCase implements AutoCloseable {

  static final long SEED = Long.getLong("moe.seed", 20252);

  final TinyModel tiny;
  final InferenceModel model;

  private InferenceCase(
      TinyModel tiny, WeightFormat format, WeightFormat draftFormat, DecodeKernels decode)
      throws IOException {
    this.tiny = tiny;
    this.model =
        InferenceModel.load(
            new ParameterWeights(tiny.parameters),
            format,
            draftFormat,
            tiny.kernels,
            decode,
            tiny.arena);
  }

  /** Random weights. */
  static InferenceCase random(ModelConfig config, Kernels kernels, DecodeKernels decode)
      throws IOException {
    return random(config, WeightFormat.FP32, kernels, decode);
  }

  /** Random weights, held in a format by the inference model only. */
  static InferenceCase random(
      ModelConfig config, WeightFormat format, Kernels kernels, DecodeKernels decode)
      throws IOException {
    return random(config, format, format, kernels, decode);
  }

  /** As above, with another format for the MTP modules. */
  static InferenceCase random(
      ModelConfig config,
      WeightFormat format,
      WeightFormat draftFormat,
      Kernels kernels,
      DecodeKernels decode)
      throws IOException {
    TinyModel tiny = new TinyModel(config, DType.F32, kernels);
    return new InferenceCase(tiny.randomise(new Random(SEED)), format, draftFormat, decode);
  }

  /** Weights that PyTorch wrote. */
  static InferenceCase golden(Path folder, Kernels kernels, DecodeKernels decode)
      throws IOException {
    ObjectMapper json = new ObjectMapper();
    JsonNode meta = json.readTree(folder.resolve("meta.json").toFile());
    ObjectNode keys = (ObjectNode) json.readTree(folder.resolve("config.json").toFile());
    keys.set("mtp_hidden", meta.get("mtp_hidden"));
    TinyModel tiny =
        new TinyModel(HuggingFaceConfig.fromJson(keys, note -> {}), DType.F32, kernels);
    try (SafetensorsReader weights = SafetensorsReader.open(folder.resolve("model.safetensors"))) {
      for (Parameter parameter : tiny.parameters.all()) {
        weights.read(parameter.name(), parameter.value());
      }
    }
    return new InferenceCase(tiny, WeightFormat.FP32, WeightFormat.FP32, decode);
  }

  ModelConfig config() {
    return model.config();
  }

  /** Random token ids. */
  int[] tokens(Random random, int length) {
    return random.ints(length, 0, config().vocabSize()).toArray();
  }

  /** The full forward over one sequence. */
  LanguageModel.Trace trace(int... tokens) {
    int[] row = java.util.Arrays.copyOf(tokens, tokens.length + 1);
    return tiny.model.trace(
        1,
        0,
        TinyModel.batch(
            new int[][] {row}, new int[] {tokens.length}, config().numMtpModules(), tiny.scope),
        tiny.scope);
  }

  /** Logits of every token of a sequence that is fed in blocks, (S, C). */
  float[] logitsInBlocks(int block, int... tokens) {
    List<Float> logits = new ArrayList<>();
    try (LatentCache cache = model.newCache(tokens.length)) {
      inBlocks(
          block,
          tokens,
          part ->
              append(
                  logits,
                  model
                      .forward(List.of(new Append(cache, part)), InferenceModel.Logits.ALL)
                      .logits()));
    }
    return toArray(logits);
  }

  static void inBlocks(int block, int[] tokens, Consumer<int[]> use) {
    for (int first = 0; first < tokens.length; first += block) {
      use.accept(
          java.util.Arrays.copyOfRange(tokens, first, Math.min(tokens.length, first + block)));
    }
  }

  static void append(List<Float> values, Tensor tensor) {
    for (int i = 0; i < tensor.size(); i++) {
      values.add((float) tensor.get(i));
    }
  }

  static float[] toArray(List<Float> values) {
    float[] array = new float[values.size()];
    for (int i = 0; i < array.length; i++) {
      array[i] = values.get(i);
    }
    return array;
  }

  @Override
  public void close() {
    model.close();
    tiny.close();
  }
}
