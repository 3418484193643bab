package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.GoldenCases;
import io.sparkmoe.checkpoint.SafetensorsReader;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.moe.GateSite;
import io.sparkmoe.moe.Routing;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * The model agrees with Hugging Face transformers: every folder with a config.json and a
 * model.safetensors under the test resources (see ORIGIN.md there), or under the folder that {@code
 * -Dgolden.dir} names, on the reference kernels and on the fastest engine of this machine.
 */
class GoldenTest {

  private static final double LOGITS = 2e-4;
  private static final double GRADIENT_OF_LARGEST = 1e-3;
  private static final double LOSS = 1e-4;
  private static final double GRADIENT_NORM = 1e-3;

  private static ComputeEngine fastest;

  @BeforeAll
  static void open() {
    fastest = ComputeEngine.open("golden", "auto", 2);
  }

  @AfterAll
  static void close() {
    fastest.close();
  }

  @TestFactory
  Stream<DynamicTest> modelAgreesWithTransformers() {
    return GoldenCases.with("config.json", "model.safetensors").stream()
        .flatMap(
            folder ->
                Stream.concat(
                    tests(folder, "reference kernels", new ReferenceKernels()),
                    tests(folder, "vector kernels", fastest.kernels())));
  }

  private interface Check {
    void run(Case golden) throws IOException;
  }

  private static Stream<DynamicTest> tests(Path folder, String name, Kernels kernels) {
    return Stream.of(
        test("the gate chooses and weighs alike", folder, name, kernels, GoldenTest::gate),
        test("the forward pass agrees", folder, name, kernels, GoldenTest::forward),
        test("losses and gradients agree", folder, name, kernels, GoldenTest::gradients),
        test("five AdamW steps agree", folder, name, kernels, GoldenTest::training));
  }

  private static DynamicTest test(
      String law, Path folder, String name, Kernels kernels, Check check) {
    return DynamicTest.dynamicTest(
        folder.getFileName() + ", " + name + ": " + law,
        () -> {
          try (Case golden = new Case(folder, kernels)) {
            check.run(golden);
          }
        });
  }

  /** A case with its weights loaded into a model. */
  private static final class Case implements AutoCloseable {
    final JsonNode meta;
    final TinyModel tiny;
    final SafetensorsReader io;
    final SafetensorsReader gradients;
    final TokenBatch batch;
    final LossScales scales;

    Case(Path folder, Kernels kernels) throws IOException {
      ObjectMapper json = new ObjectMapper();
      meta = json.readTree(folder.resolve("meta.json").toFile());
      ObjectNode keys = (ObjectNode) json.readTree(folder.resolve("config.json").toFile());
      keys.set("mtp_hidden", meta.get("mtp_hidden"));
      ModelConfig config = HuggingFaceConfig.fromJson(keys, note -> {});
      tiny = new TinyModel(config, DType.F32, kernels);
      io = SafetensorsReader.open(folder.resolve("io.safetensors"));
      gradients = SafetensorsReader.open(folder.resolve("grads.safetensors"));
      load(folder.resolve("model.safetensors"));
      batch = batch();
      scales = scales();
    }

    private void load(Path file) throws IOException {
      try (SafetensorsReader weights = SafetensorsReader.open(file)) {
        Set<String> names = new TreeSet<>();
        for (Parameter parameter : tiny.parameters.all()) {
          names.add(parameter.name());
          weights.read(parameter.name(), parameter.value());
        }
        assertThat(names).as("tensors of %s", file).containsAll(weights.names());
      }
    }

    private TokenBatch batch() throws IOException {
      Tensor inputs = io.read("input_ids", tiny.scope);
      int seqLen = inputs.dim(1);
      int[][] rows = new int[inputs.dim(0)][seqLen + 1];
      int[] valid = new int[rows.length];
      for (int b = 0; b < rows.length; b++) {
        valid[b] = seqLen;
        for (int i = 0; i < seqLen; i++) {
          rows[b][i] = inputs.getInt(b * seqLen + i);
        }
        rows[b][seqLen] = -1;
      }
      return TinyModel.batch(rows, valid, tiny.parameters.config().numMtpModules(), tiny.scope);
    }

    private LossScales scales() {
      int numSequences = batch.numSequences();
      int depths = batch.mtpTargets().size();
      double[] mtp =
          IntStream.rangeClosed(1, depths)
              .mapToDouble(k -> meta.path("mtp_loss_weight").asDouble() / (depths * mtpTargets(k)))
              .toArray();
      return new LossScales(
          1.0 / mtpTargets(0), mtp, meta.path("balance_loss_alpha").asDouble() / numSequences);
    }

    long mtpTargets(int depth) {
      return (long) batch.numSequences() * (batch.seqLen() - 1 - depth);
    }

    Losses train(int step) {
      return tiny.model.train(step, 0, batch, scales, tiny.arena);
    }

    double total(Losses losses) {
      double total = scales.main() * losses.mainSum() + scales.balance() * losses.balanceSum();
      for (int k = 0; k < losses.mtpSum().length; k++) {
        total += scales.mtp()[k] * losses.mtpSum()[k];
      }
      return total;
    }

    Tensor expected(String name) throws IOException {
      return io.read(name, tiny.scope);
    }

    @Override
    public void close() throws IOException {
      io.close();
      gradients.close();
      tiny.close();
    }
  }

  private static void gate(Case golden) throws IOException {
    for (int layer = 0; layer < golden.tiny.parameters.config().numLayers(); layer++) {
      String name = "router." + layer;
      if (golden.io.contains(name + ".input")) {
        Tensor x = golden.expected(name + ".input");
        int numSequences = golden.batch.numSequences();
        Tensor valid = golden.tiny.scope.allocate(DType.I32, numSequences);
        for (int b = 0; b < numSequences; b++) {
          valid.setInt(b, x.rows() / numSequences);
        }
        Routing routing =
            golden
                .tiny
                .gate
                .route(new GateSite(1, 0, layer, false), x, valid, golden.tiny.scope)
                .await();
        assertRouting(golden, name, routing);
      }
    }
  }

  private static void forward(Case golden) throws IOException {
    LanguageModel.Trace trace = golden.tiny.model.trace(1, 0, golden.batch, golden.tiny.scope);
    for (int layer = 0; layer < trace.hidden().size(); layer++) {
      assertClose(
          "hidden." + layer, golden.expected("hidden." + layer), trace.hidden().get(layer), LOGITS);
    }
    assertClose("logits", golden.expected("logits"), trace.logits(), LOGITS);
    int mtpCompared = 0;
    for (String name : golden.io.names()) {
      if (name.startsWith("router.") && name.endsWith(".ids")) {
        int layer =
            Integer.parseInt(name.substring("router.".length(), name.length() - ".ids".length()));
        assertRouting(golden, "router." + layer, trace.routings().get(layer));
      }
      if (name.startsWith("mtp_logits")) {
        Tensor expected = golden.expected(name);
        int depth = golden.batch.seqLen() - expected.dim(1);
        assertClose(name, expected, trace.mtpLogits().get(depth - 1), LOGITS);
        mtpCompared++;
      }
    }
    assertThat(mtpCompared > 0).as("MTP logits compared").isEqualTo(!trace.mtpLogits().isEmpty());
  }

  private static void gradients(Case golden) throws IOException {
    Losses losses = golden.train(1);
    JsonNode expected = golden.meta.path("losses");
    assertRelative(
        "main loss", expected.path("main").asDouble(), losses.mainSum() / losses.mainCount(), LOSS);
    assertRelative(
        "balance loss",
        expected.path("balance").asDouble(),
        losses.balanceSum() / golden.batch.numSequences(),
        LOSS);
    int depths = losses.mtpSum().length;
    if (depths > 0) {
      double mtp = 0;
      for (int k = 0; k < depths; k++) {
        assertThat(losses.mtpCount()[k]).isEqualTo(golden.mtpTargets(k + 1));
        mtp += losses.mtpSum()[k] / losses.mtpCount()[k] / depths;
      }
      assertRelative("MTP loss", expected.path("mtp").asDouble(), mtp, LOSS);
    }
    assertRelative(
        "total loss", golden.meta.path("total_loss").asDouble(), golden.total(losses), LOSS);
    assertThat(losses.droppedTokens()).isZero();
    Set<String> names = new TreeSet<>();
    for (Parameter parameter : golden.tiny.parameters.all()) {
      if (parameter.gradient() != null) {
        names.add(parameter.name());
        Tensor gradient = golden.gradients.read(parameter.name(), golden.tiny.scope);
        double largest = 0;
        for (int i = 0; i < gradient.size(); i++) {
          largest = Math.max(largest, Math.abs(gradient.get(i)));
        }
        assertClose(
            "gradient of " + parameter.name(),
            gradient,
            parameter.gradient(),
            GRADIENT_OF_LARGEST * largest);
      }
    }
    assertThat(names).as("parameters with a gradient").containsAll(golden.gradients.names());
  }

  private static void training(Case golden) {
    JsonNode adamW = golden.meta.path("adamw");
    List<Tensor> moments = new ArrayList<>();
    List<Parameter> trained =
        golden.tiny.parameters.all().stream()
            .filter(parameter -> parameter.gradient() != null)
            .toList();
    for (Parameter parameter : trained) {
      moments.add(golden.tiny.scope.zeros(DType.F32, parameter.value().shape()));
      moments.add(golden.tiny.scope.zeros(DType.F32, parameter.value().shape()));
    }
    Kernels kernels = golden.tiny.kernels;
    for (int step = 1; step <= adamW.path("total_losses").size(); step++) {
      double loss = golden.total(golden.train(step));
      assertRelative(
          "loss before step " + step,
          adamW.path("total_losses").get(step - 1).asDouble(),
          loss,
          LOSS);
      double squares = 0;
      for (Parameter parameter : trained) {
        squares += kernels.sumOfSquares(parameter.gradient());
      }
      double norm = Math.sqrt(squares);
      assertRelative(
          "gradient norm of step " + step,
          adamW.path("grad_norms").get(step - 1).asDouble(),
          norm,
          GRADIENT_NORM);
      // As torch.nn.utils.clip_grad_norm_.
      double scale = Math.min(1, adamW.path("clip_norm").asDouble() / (norm + 1e-6));
      for (int i = 0; i < trained.size(); i++) {
        Parameter parameter = trained.get(i);
        kernels.adamW(
            parameter.value(),
            moments.get(2 * i),
            moments.get(2 * i + 1),
            parameter.gradient(),
            step(adamW, step, parameter.isDecayed(), scale));
      }
    }
  }

  private static Kernels.AdamWStep step(JsonNode adamW, int step, boolean decayed, double scale) {
    double beta1 = adamW.path("betas").get(0).asDouble();
    double beta2 = adamW.path("betas").get(1).asDouble();
    return new Kernels.AdamWStep(
        adamW.path("lr").asDouble(),
        beta1,
        beta2,
        adamW.path("eps").asDouble(),
        adamW.path(decayed ? "weight_decay_2d" : "weight_decay_1d").asDouble(),
        1 - Math.pow(beta1, step),
        1 - Math.pow(beta2, step),
        scale,
        true);
  }

  private static void assertRouting(Case golden, String name, Routing routing) throws IOException {
    assertThat(routing.ids().toIntArray())
        .as("%s.ids", name)
        .isEqualTo(golden.expected(name + ".ids").toIntArray());
    assertClose(name + ".weights", golden.expected(name + ".weights"), routing.weights(), LOGITS);
  }

  private static void assertRelative(
      String name, double expected, double actual, double tolerance) {
    assertThat(Math.abs(actual - expected))
        .as("%s: expected %.9g, got %.9g", name, expected, actual)
        .isLessThanOrEqualTo(tolerance * Math.abs(expected));
  }

  /** Compares element by element and names the worst. */
  private static void assertClose(String name, Tensor expected, Tensor actual, double tolerance) {
    assertThat(actual.size()).as("elements of %s", name).isEqualTo(expected.size());
    int worst = 0;
    double largest = 0;
    for (int i = 0; i < expected.size(); i++) {
      double difference = Math.abs(expected.get(i) - actual.get(i));
      if (difference > largest || Double.isNaN(difference)) {
        worst = i;
        largest = difference;
      }
    }
    assertThat(largest)
        .as(
            "%s: largest difference at %d, expected %.9g, got %.9g",
            name, worst, expected.get(worst), actual.get(worst))
        .isLessThanOrEqualTo(tolerance);
  }
}
