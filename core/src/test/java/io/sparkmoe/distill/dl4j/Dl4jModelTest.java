package io.sparkmoe.distill.dl4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.AnswerSink;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.GivenText;
import io.sparkmoe.distill.ModelTeacher;
import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.TokenScores;
import io.sparkmoe.distill.TokenUsage;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.lossfunctions.LossFunctions;

class Dl4jModelTest {

  private static final int WINDOW = 50;
  private static final SamplingSettings TOP_4 = new SamplingSettings(12, 0, 1, 4, 1);

  @TempDir static Path folder;

  private static String text;
  private static Tokenizer tokenizer;
  private static MultiLayerNetwork trained;
  private static Path zip;

  @BeforeAll
  static void trainOnRealText() throws IOException {
    text = new String(resource("coriolanus.txt").readAllBytes(), StandardCharsets.UTF_8);
    tokenizer = Tokenizers.ofCharacters(text);
    int vocabSize = tokenizer.vocabSize() - 1; // the network never sees the end of a text
    trained =
        new MultiLayerNetwork(
            new NeuralNetConfiguration.Builder()
                .seed(7)
                .updater(new Adam(0.02))
                .list()
                .layer(
                    new LSTM.Builder().nIn(vocabSize).nOut(32).activation(Activation.TANH).build())
                .layer(
                    new RnnOutputLayer.Builder(LossFunctions.LossFunction.MCXENT)
                        .nIn(32)
                        .nOut(vocabSize)
                        .activation(Activation.SOFTMAX)
                        .build())
                .build());
    trained.init();
    DataSet batch = batch(vocabSize);
    for (int step = 0; step < 60; step++) {
      trained.fit(batch);
    }
    zip = folder.resolve("lstm.zip");
    trained.save(zip.toFile());
  }

  private static InputStream resource(String name) {
    return Dl4jModelTest.class.getResourceAsStream("/io/sparkmoe/distill/" + name);
  }

  /** All windows of the text, one-hot, (B, C, T). */
  private static DataSet batch(int vocabSize) {
    int[] ids = tokenizer.encode(text);
    int count = (ids.length - 1) / WINDOW;
    INDArray inputs = Nd4j.zeros(DataType.FLOAT, count, vocabSize, WINDOW);
    INDArray labels = Nd4j.zeros(DataType.FLOAT, count, vocabSize, WINDOW);
    for (int b = 0; b < count; b++) {
      for (int t = 0; t < WINDOW; t++) {
        inputs.putScalar(new long[] {b, ids[b * WINDOW + t], t}, 1);
        labels.putScalar(new long[] {b, ids[b * WINDOW + t + 1], t}, 1);
      }
    }
    return new DataSet(inputs, labels);
  }

  private static TeacherRequest request(Prompt prompt) {
    return new TeacherRequest("r", prompt, 5);
  }

  private static Prompt window(int... ids) {
    return new Prompt("", null, null, null, ids);
  }

  private static List<DistillationRow> teach(
      Path file, SamplingSettings sampling, Prompt... prompts) throws Exception {
    List<DistillationRow> rows = new ArrayList<>();
    AnswerSink sink =
        new AnswerSink() {
          @Override
          public void answered(List<DistillationRow> answered, TokenUsage usage) {
            rows.addAll(answered);
          }

          @Override
          public void failed(TeacherRequest request, String reason) {
            throw new AssertionError(reason);
          }
        };
    Tokenizer own = Tokenizers.fromJson(tokenizer.toJson());
    try (ModelTeacher teacher =
        new ModelTeacher(
            new TeacherIdentity("lstm", "r1", own.sha256(), own.vocabSize()),
            sampling,
            own,
            Dl4jModel.read(file, own, sampling))) {
      teacher.answer(Arrays.stream(prompts).map(Dl4jModelTest::request).iterator(), sink);
    }
    return rows;
  }

  @Test
  void aTrainedNetworkJudgesRealTextBetterThanItsLetterFrequencies() throws Exception {
    int[] ids = tokenizer.encode(text);
    List<Prompt> windows = new ArrayList<>();
    for (int start = 0; start + WINDOW < ids.length; start += WINDOW) {
      windows.add(window(Arrays.copyOfRange(ids, start, start + WINDOW + 1)));
    }
    List<DistillationRow> rows = teach(zip, TOP_4, windows.toArray(Prompt[]::new));

    double sum = 0;
    long count = 0;
    for (DistillationRow row : rows) {
      assertThat(row.finishReason()).isEqualTo("forced");
      assertThat(row.promptIds()).hasSize(1);
      for (int i = 0; i < row.completionIds().length; i++) {
        sum -= row.sampledLogprobs()[i];
        count++;
        double mass = Math.exp(row.tailLogMass()[i]);
        for (int k = 0; k < 4; k++) {
          mass += Math.exp(row.topkLogprobs()[i][k]);
          assertThat(k == 0 || row.topkLogprobs()[i][k] <= row.topkLogprobs()[i][k - 1]).isTrue();
          if (row.topkIds()[i][k] == row.completionIds()[i]) {
            assertThat(row.topkLogprobs()[i][k]).isEqualTo(row.sampledLogprobs()[i]);
          }
        }
        assertThat(mass).isCloseTo(1, within(1e-5));
      }
    }
    assertThat(sum / count).as("nats per character").isLessThan(entropy(ids) - 0.3);
  }

  /** Nats per character of the text's own letter frequencies. */
  private static double entropy(int[] ids) {
    double[] counts = new double[tokenizer.vocabSize()];
    for (int id : ids) {
      counts[id]++;
    }
    double entropy = 0;
    for (double n : counts) {
      entropy -= n == 0 ? 0 : n / ids.length * Math.log(n / ids.length);
    }
    return entropy;
  }

  @Test
  void anAnswerIsWrittenStepByStepAndJudgedAsTheNetworkSaysOfTheWhole() throws Exception {
    DistillationRow row = teach(zip, TOP_4, Prompt.ofText("First Citizen:\n")).get(0);

    assertThat(row.prompt()).isEqualTo("First Citizen:\n");
    assertThat(row.completion()).hasSize(12).isEqualTo(tokenizer.decode(row.completionIds()));
    assertThat(row.finishReason()).isEqualTo("length");
    for (int i = 0; i < 12; i++) {
      assertThat(row.completionIds()[i]).as("greedy").isEqualTo(row.topkIds()[i][0]);
    }
    SamplingSettings textOnly = new SamplingSettings(12, 0, 1, 0, 1);
    DistillationRow stepwise = teach(zip, textOnly, Prompt.ofText("First Citizen:\n")).get(0);
    assertThat(stepwise.completion()).isEqualTo(row.completion());
    assertThat(stepwise.topkIds()).isNull();
    for (int i = 0; i < 12; i++) {
      assertThat(stepwise.sampledLogprobs()[i]).isCloseTo(row.sampledLogprobs()[i], within(1e-4f));
    }
  }

  @Test
  void samplingFollowsItsSeed() throws Exception {
    SamplingSettings sampled = new SamplingSettings(40, 1, 0.9, 0, 1);
    String first = teach(zip, sampled, Prompt.ofText("All:\n")).get(0).completion();

    assertThat(teach(zip, sampled, Prompt.ofText("All:\n")).get(0).completion()).isEqualTo(first);
    assertThat(first).isNotEqualTo(teach(zip, TOP_4, Prompt.ofText("All:\n")).get(0).completion());
  }

  @Test
  void aComputationGraphTeachesAsWell() throws Exception {
    int vocabSize = tokenizer.vocabSize() - 1;
    ComputationGraph graph =
        new ComputationGraph(
            new NeuralNetConfiguration.Builder()
                .seed(3)
                .graphBuilder()
                .addInputs("in")
                .addLayer("lstm", new LSTM.Builder().nIn(vocabSize).nOut(6).build(), "in")
                .addLayer(
                    "out",
                    new RnnOutputLayer.Builder(LossFunctions.LossFunction.MCXENT)
                        .nIn(6)
                        .nOut(vocabSize)
                        .activation(Activation.SOFTMAX)
                        .build(),
                    "lstm")
                .setOutputs("out")
                .build());
    graph.init();
    Path file = folder.resolve("graph.zip");
    graph.save(file.toFile());

    DistillationRow row = teach(file, TOP_4, Prompt.ofText("You are")).get(0);
    assertThat(row.completionIds()).hasSize(12);
    assertThat(row.topkLogprobs()[0][0]).isCloseTo((float) -Math.log(vocabSize), within(0.5f));
  }

  @Test
  void kerasWeightsGiveKerasLogprobs() throws Exception {
    Path file = folder.resolve("characters.h5");
    Files.copy(resource("characters.h5"), file);
    try (Tokenizer five = Tokenizers.ofCharactersInOrder("abcde");
        Dl4jModel model = Dl4jModel.read(file, five, new SamplingSettings(1, 0, 1, 5, 1))) {
      GivenText given = new GivenText(request(window(0, 3, 1, 4, 2)), new int[] {0, 3, 1, 4, 2}, 1);
      TokenScores scores = model.score(List.of(given)).get(0);

      float[] expected = {-3.118543f, -0.348187f, -2.896358f, -2.848971f};
      for (int i = 0; i < expected.length; i++) {
        assertThat(scores.given()[i]).isCloseTo(expected[i], within(1e-4f));
      }
      assertThat(scores.topkIds()[0][0]).isEqualTo(1);
      assertThat(scores.tailLogMass()[0]).isEqualTo(Float.NEGATIVE_INFINITY);
    }
  }

  @Test
  void anotherVocabularyIsRefused() {
    assertThatThrownBy(() -> Dl4jModel.read(zip, Tokenizers.ofCharactersInOrder("abc"), TOP_4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("teacher is no language model over 4 tokens")
        .hasMessageEndingWith("give its own --tokenizer");
  }

  @Test
  void aFileThatIsNoNetworkIsRefused() throws Exception {
    Path text = Files.writeString(folder.resolve("text.zip"), "PK but nothing else");
    Path empty = Files.writeString(folder.resolve("empty.zip"), "");
    for (Path file : List.of(text, empty)) {
      assertThatThrownBy(() -> Dl4jModel.read(file, tokenizer, TOP_4))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("teacher " + file + " cannot be read (")
          .hasMessageEndingWith("or a Keras h5; give another file");
    }
  }
}
