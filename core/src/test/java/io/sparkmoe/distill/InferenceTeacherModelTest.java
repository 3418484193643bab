package io.sparkmoe.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.infer.Append;
import io.sparkmoe.infer.InferenceModel;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.LatentCache;
import io.sparkmoe.infer.ParameterWeights;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A model of ours as teacher against its own logits. */
class InferenceTeacherModelTest {

  private static final long SEED = Long.getLong("moe.seed", 20253);

  private static Arena arena;
  private static Parameters parameters;
  private static final Tokenizer TOKENIZER = new ByteTokenizer();

  @BeforeAll
  static void makeWeights() {
    arena = new Arena("test", 1L << 28);
    ModelConfig config =
        TinyModel.config(
            Map.of("vocab_size", TOKENIZER.vocabSize(), "max_position_embeddings", 400));
    parameters = Parameters.allocateAll(config, DType.F32, arena);
    parameters.initialize(SEED);
    // Initial weights give nearly the same chance to all tokens; larger ones have opinions.
    Tensor head = parameters.weight("lm_head.weight").value();
    Random random = new Random(SEED);
    for (int i = 0; i < head.size(); i++) {
      head.setFloat(i, (float) random.nextGaussian());
    }
  }

  @AfterAll
  static void close() {
    parameters.close();
    arena.close();
  }

  private static List<DistillationRow> teach(
      SamplingSettings sampling, List<String> failures, Prompt... prompts) throws Exception {
    return teach(parameters, new int[0], sampling, failures, prompts);
  }

  private static List<DistillationRow> teach(
      Parameters weights,
      int[] begin,
      SamplingSettings sampling,
      List<String> failures,
      Prompt... prompts)
      throws Exception {
    return teach(weights, begin, new ByteTokenizer(), sampling, failures, prompts);
  }

  private static List<DistillationRow> teach(
      Parameters weights,
      int[] begin,
      Tokenizer tokenizer,
      SamplingSettings sampling,
      List<String> failures,
      Prompt... prompts)
      throws Exception {
    List<DistillationRow> rows = new ArrayList<>();
    AnswerSink sink =
        new AnswerSink() {
          @Override
          public void answered(List<DistillationRow> answered, TokenUsage usage) {
            rows.addAll(answered);
          }

          @Override
          public void failed(TeacherRequest request, String reason) {
            failures.add(reason);
          }
        };
    List<TeacherRequest> requests = new ArrayList<>();
    for (int i = 0; i < prompts.length; i++) {
      requests.add(new TeacherRequest("r" + i, prompts[i], 100 + i));
    }
    InferenceTeacherModel model =
        new InferenceTeacherModel(
            new ParameterWeights(weights),
            sampling,
            new InferenceTeacherModel.Compute("auto", 2),
            tokenizer,
            Set.of(tokenizer.endOfTextId()),
            begin);
    try (ModelTeacher teacher =
        new ModelTeacher(
            new TeacherIdentity("tiny", "r1", tokenizer.sha256(), tokenizer.vocabSize())
                .withTemplate(ChatTemplate.sha256()),
            sampling,
            tokenizer,
            model)) {
      teacher.answer(requests.iterator(), sink);
    }
    return rows;
  }

  /** Log-probabilities of every next token, (N - 1, C), in double. */
  private static double[][] truth(int[] ids) throws Exception {
    try (ComputeEngine engine = ComputeEngine.open("test", "auto", 1);
        Arena own = new Arena("truth", 1L << 28);
        InferenceModel model = InferenceModel.load(new ParameterWeights(parameters), engine, own);
        LatentCache cache = model.newCache(ids.length)) {
      int c = model.config().vocabSize();
      int[] inputs = Arrays.copyOf(ids, ids.length - 1);
      Tensor logits = model.forward(List.of(new Append(cache, inputs)), Logits.ALL).logits();
      double[][] rows = new double[inputs.length][c];
      for (int t = 0; t < inputs.length; t++) {
        double sum = 0;
        for (int j = 0; j < c; j++) {
          sum += Math.exp(logits.get(t * c + j));
        }
        for (int j = 0; j < c; j++) {
          rows[t][j] = logits.get(t * c + j) - Math.log(sum);
        }
      }
      return rows;
    }
  }

  private static void requireTrue(DistillationRow row, int topK) throws Exception {
    int[] ids = Arrays.copyOf(row.promptIds(), row.promptIds().length + row.completionIds().length);
    System.arraycopy(
        row.completionIds(), 0, ids, row.promptIds().length, row.completionIds().length);
    double[][] truth = truth(ids);
    for (int i = 0; i < row.completionIds().length; i++) {
      double[] p = truth[row.promptIds().length + i - 1];
      assertThat((double) row.sampledLogprobs()[i])
          .isCloseTo(p[row.completionIds()[i]], within(1e-4));
      if (topK == 0) {
        continue;
      }
      double[] sorted = Arrays.stream(p).sorted().toArray();
      double tail = 0;
      for (int j = 0; j < p.length - topK; j++) {
        tail += Math.exp(sorted[j]);
      }
      assertThat((double) row.tailLogMass()[i]).isCloseTo(Math.log(tail), within(1e-4));
      for (int k = 0; k < topK; k++) {
        assertThat((double) row.topkLogprobs()[i][k])
            .isCloseTo(sorted[p.length - 1 - k], within(1e-4))
            .isCloseTo(p[row.topkIds()[i][k]], within(1e-4));
      }
    }
  }

  @Test
  void givenTextIsJudgedByTheFullSoftmaxInWindowsAndBesidePrompts() throws Exception {
    SamplingSettings sampling = new SamplingSettings(5, 1, 1, 6, 1);
    Random random = new Random(SEED);
    int[] window = random.ints(90, 0, 256).toArray();
    List<DistillationRow> rows =
        teach(
            sampling,
            new ArrayList<>(),
            new Prompt("", null, null, null, window),
            new Prompt("de", "Wie geht's?", null, " Gut.", null),
            new Prompt("", null, null, null, random.ints(90, 0, 256).toArray()));

    assertThat(rows).extracting(DistillationRow::finishReason).containsOnly("forced");
    assertThat(rows.get(0).promptIds()).containsExactly(window[0]);
    assertThat(rows.get(0).completionIds()).containsExactly(Arrays.copyOfRange(window, 1, 90));
    assertThat(rows.get(1).completion()).isEqualTo(" Gut.");
    assertThat(rows.get(1).source()).isEqualTo("de");
    for (DistillationRow row : rows) {
      requireTrue(row, 6);
    }
  }

  @Test
  void anAnswerCarriesLogprobsAtTemperatureOneWhateverItWasSampledWith() throws Exception {
    SamplingSettings sampling = new SamplingSettings(20, 0.5, 0.8, 3, 1);
    List<DistillationRow> rows =
        teach(sampling, new ArrayList<>(), Prompt.ofText("To be"), Prompt.ofText("or not"));

    assertThat(rows).hasSize(2);
    for (DistillationRow row : rows) {
      assertThat(row.temperature()).isEqualTo(0.5);
      assertThat(row.completionIds().length).isBetween(1, 20);
      requireTrue(row, 3);
    }
    SamplingSettings textOnly = new SamplingSettings(20, 0.5, 0.8, 0, 1);
    DistillationRow plain = teach(textOnly, new ArrayList<>(), Prompt.ofText("To be")).get(0);
    assertThat(plain.completionIds()).isEqualTo(rows.get(0).completionIds());
    assertThat(plain.topkIds()).isNull();
    for (int i = 0; i < plain.sampledLogprobs().length; i++) {
      assertThat(plain.sampledLogprobs()[i])
          .isCloseTo(rows.get(0).sampledLogprobs()[i], within(1e-4f));
    }
  }

  /** A vocabulary is often padded to a round number; the tokenizer knows none of those ids. */
  @Test
  void idsBeyondTheTokenizersAreNeitherWrittenNorRankedAndCountAsTail() throws Exception {
    ModelConfig config =
        TinyModel.config(Map.of("vocab_size", 300, "max_position_embeddings", 400));
    try (Parameters padded = Parameters.allocateAll(config, DType.F32, arena)) {
      padded.initialize(SEED);
      Tensor head = padded.weight("lm_head.weight").value();
      Random random = new Random(SEED);
      for (int i = 0; i < head.size(); i++) {
        head.setFloat(i, (float) random.nextGaussian());
      }
      int all = TOKENIZER.vocabSize();
      List<DistillationRow> rows =
          teach(
              padded,
              new int[0],
              new SamplingSettings(20, 1, 1, all, 1),
              new ArrayList<>(),
              Prompt.ofText("To be"),
              new Prompt("", "or", null, " not to be", null));

      assertThat(rows).hasSize(2);
      for (DistillationRow row : rows) {
        assertThat(Arrays.stream(row.completionIds())).allMatch(id -> id < all);
        for (int i = 0; i < row.topkIds().length; i++) {
          assertThat(Arrays.stream(row.topkIds()[i])).hasSize(all).allMatch(id -> id < all);
          double mass = Math.exp(row.tailLogMass()[i]);
          assertThat(mass).as("mass of the padding").isGreaterThan(1e-3);
          for (float p : row.topkLogprobs()[i]) {
            mass += Math.exp(p);
          }
          assertThat(mass).isCloseTo(1, within(1e-4));
        }
      }
    }
  }

  @Test
  void whatTheModelReadsBeforeEveryTextIsNoPartOfTheRow() throws Exception {
    int begin = 255;
    List<DistillationRow> rows =
        teach(
            parameters,
            new int[] {begin},
            new SamplingSettings(5, 1, 1, 2, 1),
            new ArrayList<>(),
            new Prompt("", "To be", null, " or not", null),
            Prompt.ofText("to be"));

    assertThat(rows).hasSize(2);
    for (DistillationRow row : rows) {
      int[] prompt = TOKENIZER.encode(row.prompt());
      assertThat(row.promptIds()).containsExactly(prompt);
      int n = row.completionIds().length;
      int[] read = new int[1 + prompt.length + n];
      read[0] = begin;
      System.arraycopy(prompt, 0, read, 1, prompt.length);
      System.arraycopy(row.completionIds(), 0, read, 1 + prompt.length, n);
      double[][] truth = truth(read);
      for (int i = 0; i < n; i++) {
        assertThat((double) row.sampledLogprobs()[i])
            .isCloseTo(truth[prompt.length + i][row.completionIds()[i]], within(1e-4));
      }
    }
  }

  /** Two ids for a letter, and many that end the model's turn. */
  private static final class TurnTokenizer implements Tokenizer {
    private final ByteTokenizer bytes = new ByteTokenizer();

    @Override
    public int vocabSize() {
      return bytes.vocabSize();
    }

    @Override
    public int endOfTextId() {
      return bytes.endOfTextId();
    }

    @Override
    public int[] encode(String text) {
      return bytes.encode(text);
    }

    @Override
    public String decode(int... ids) {
      StringBuilder text = new StringBuilder();
      for (int id : ids) {
        text.append(id >= 220 ? id == endOfTextId() ? "" : " \n\nUser: d" : "" + letter(id));
      }
      return text.toString();
    }

    private static char letter(int id) {
      return id < 128 ? (char) id : 'b';
    }

    @Override
    public String toJson() {
      return bytes.toJson();
    }

    @Override
    public String sha256() {
      return bytes.sha256();
    }

    @Override
    public void close() {}
  }

  private static final List<ChatMessage> CONVERSATION =
      List.of(new ChatMessage("system", "be brief"), new ChatMessage("user", "a "));

  private static Prompt conversation(String completion) {
    return new Prompt("", null, CONVERSATION, completion, null);
  }

  private static void requireConversation(DistillationRow row) {
    assertThat(row.prompt()).isNull();
    assertThat(row.promptIds())
        .containsExactly(TOKENIZER.encode("System: be brief\n\nUser: a\n\nAssistant:"));
    assertThat(row.templateSha256()).isEqualTo(ChatTemplate.sha256());
    assertThat(row.messages())
        .isEqualTo(ChatMessage.answered(CONVERSATION, row.completion().strip()));
  }

  @Test
  void anAnswerToAConversationEndsWhereTheNextTurnWouldStartAndItsIdsWithIt() throws Exception {
    Prompt[] prompts = new Prompt[24];
    Arrays.fill(prompts, conversation(null));
    TurnTokenizer tokenizer = new TurnTokenizer();
    for (int topK : new int[] {0, 3}) {
      SamplingSettings sampling = new SamplingSettings(30, 1, 1, topK, 1);
      List<DistillationRow> rows =
          teach(parameters, new int[0], tokenizer, sampling, new ArrayList<>(), prompts);

      assertThat(rows).hasSize(prompts.length);
      int ended = 0;
      for (DistillationRow row : rows) {
        requireConversation(row);
        int[] ids = row.completionIds();
        boolean byItself = ids.length > 0 && ids[ids.length - 1] == tokenizer.endOfTextId();
        if (row.finishReason().equals(DistillationRow.STOP) && !byItself) {
          ended++;
          assertThat(ids).containsExactly(tokenizer.encode(row.completion()));
          assertThat(row.completion()).isEqualTo(row.completion().stripTrailing());
        }
        assertThat(row.completion()).isEqualTo(tokenizer.decode(ids)).doesNotContain("User");
        requireTrue(row, topK);
      }
      assertThat(ended).isGreaterThan(10);
    }
  }

  @Test
  void aGivenAnswerToAConversationIsJudgedAsTheTemplateWritesIt() throws Exception {
    DistillationRow row =
        teach(new SamplingSettings(5, 1, 1, 6, 1), new ArrayList<>(), conversation("Gut.\n"))
            .get(0);

    requireConversation(row);
    assertThat(row.finishReason()).isEqualTo(DistillationRow.FORCED);
    assertThat(row.completion()).isEqualTo(" Gut.");
    assertThat(row.completionIds()).containsExactly(TOKENIZER.encode(" Gut."));
    requireTrue(row, 6);
  }

  @Test
  void textThatIsNoConversationHasNoTemplate() throws Exception {
    DistillationRow row =
        teach(new SamplingSettings(5, 1, 1, 0, 1), new ArrayList<>(), Prompt.ofText("To be"))
            .get(0);

    assertThat(row.prompt()).isEqualTo("To be");
    assertThat(row.messages()).isNull();
    assertThat(row.templateSha256()).isNull();
  }

  @Test
  void damagedWeightsAreNamedWhetherTextIsWrittenOrJudged() {
    Tensor head = parameters.weight("lm_head.weight").value();
    float[] whole = new float[head.cols()];
    for (int i = 0; i < whole.length; i++) {
      whole[i] = head.getFloat(i);
      head.setFloat(i, Float.MAX_VALUE); // a number, as loading demands, whose products are none
    }
    try {
      for (Prompt prompt :
          List.of(Prompt.ofText("To be"), new Prompt("", "To be", null, " or not", null))) {
        assertThatThrownBy(
                () -> teach(new SamplingSettings(5, 1, 1, 2, 1), new ArrayList<>(), prompt))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageStartingWith("the model's logits are not numbers: got log-")
            .hasMessageEndingWith("the weights are damaged, take another checkpoint");
      }
    } finally {
      for (int i = 0; i < whole.length; i++) {
        head.setFloat(i, whole[i]);
      }
    }
  }

  @Test
  void aTextBeyondTheContextFailsAloneByItsLength() throws Exception {
    List<String> failures = new ArrayList<>();
    List<DistillationRow> rows =
        teach(
            new SamplingSettings(5, 1, 1, 2, 1),
            failures,
            Prompt.ofText("x".repeat(396)),
            Prompt.ofText("fits"));

    assertThat(rows).hasSize(1);
    assertThat(failures)
        .containsExactly(
            "context overflow: prompt and answer take 401 positions, the model has 400");
  }
}
