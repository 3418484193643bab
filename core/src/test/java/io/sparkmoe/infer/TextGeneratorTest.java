package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.OutOfArenaException;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class TextGeneratorTest {

  private static final SamplingOptions SAMPLED =
      new SamplingOptions(1, 40, 0.95, InferenceCase.SEED);

  private static ComputeEngine engine;

  private final ByteTokenizer tokenizer = new ByteTokenizer();
  private InferenceCase test;
  private TextGenerator generator;

  @BeforeAll
  static void openEngine() {
    engine = ComputeEngine.open("infer", "auto", 2);
  }

  @AfterAll
  static void closeEngine() {
    engine.close();
  }

  @BeforeEach
  void open() throws IOException {
    test =
        InferenceCase.random(
            TinyModel.config(Map.of("vocab_size", 257, "moe_intermediate_size", 16)),
            engine.kernels(),
            engine.decodeKernels());
    generator = new TextGenerator(test.model, tokenizer, Set.of());
  }

  @AfterEach
  void close() {
    test.close();
  }

  private static GenerationRequest request(int maxTokens, SamplingOptions sampling, int... prompt) {
    return new GenerationRequest(prompt, maxTokens, sampling, List.of());
  }

  private Generation generate(GenerationRequest request) {
    return generator.generate(List.of(request), 1, GenerationListener.NONE).texts().get(0);
  }

  /** Law: greedy writing takes the likeliest token of the full forward, with its probability. */
  @Test
  void greedyTextIsTheFullForwardsAndSoAreItsLogProbabilities() {
    int[] prompt = test.tokens(new Random(InferenceCase.SEED), 20);
    Generation text = generate(request(12, SamplingOptions.GREEDY, prompt));
    int[] whole = Arrays.copyOf(prompt, prompt.length + 12);
    System.arraycopy(text.tokenIds(), 0, whole, prompt.length, 12);
    Tensor logits = test.trace(whole).logits();
    Sampler sampler = new Sampler(engine.decodeKernels(), 257);
    for (int i = 0; i < 12; i++) {
      Sampler.Choice expected =
          sampler.choose(logits, prompt.length - 1 + i, SamplingOptions.GREEDY, i);
      assertThat(text.tokenIds()[i]).isEqualTo(expected.token());
      assertThat(text.logProbabilities()[i]).isCloseTo(expected.logProbability(), within(1e-4f));
    }
    assertThat(text.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(text.text()).isEqualTo(tokenizer.decode(text.tokenIds()));
  }

  /** Law: a text does not depend on what stands beside it, nor on how many are under way. */
  @Test
  void aSampledTextIsTheSameAloneAndAmongOthers() {
    Random random = new Random(InferenceCase.SEED);
    List<GenerationRequest> requests = new ArrayList<>();
    for (int length : new int[] {3, 11, 1, 7, 5}) {
      requests.add(
          request(
              4 + length,
              SAMPLED.withSeed(InferenceCase.SEED + length),
              test.tokens(random, length)));
    }
    List<Generation> together = generator.generate(requests, 3, GenerationListener.NONE).texts();
    for (int i = 0; i < requests.size(); i++) {
      Generation alone = generate(requests.get(i));
      assertThat(together.get(i).tokenIds()).containsExactly(alone.tokenIds());
      assertThat(together.get(i).text()).isEqualTo(alone.text());
    }
  }

  @Test
  void piecesMakeTheTextAndNoneIsSplitInsideACharacter() {
    StringBuilder heard = new StringBuilder();
    GenerationRequest request = request(40, SAMPLED, 'a');
    Generation text =
        generator
            .generate(List.of(request), 1, (number, piece) -> heard.append(piece))
            .texts()
            .get(0);
    assertThat(heard.toString())
        .isEqualTo(text.text())
        .isEqualTo(tokenizer.decode(text.tokenIds()));
  }

  @Test
  void anEndTokenEndsTheTextAndIsNoPartOfIt() {
    Generation free = generate(request(10, SAMPLED, 'a'));
    int end = free.tokenIds()[4];
    int first = 0;
    while (free.tokenIds()[first] != end) {
      first++;
    }
    TextGenerator ending = new TextGenerator(test.model, tokenizer, Set.of(end));
    Generation text =
        ending
            .generate(List.of(request(10, SAMPLED, 'a')), 1, GenerationListener.NONE)
            .texts()
            .get(0);
    assertThat(text.finishReason()).isEqualTo(FinishReason.STOP);
    assertThat(text.tokenIds()).containsExactly(Arrays.copyOf(free.tokenIds(), first + 1));
    assertThat(text.text()).isEqualTo(tokenizer.decode(Arrays.copyOf(free.tokenIds(), first)));
  }

  @Test
  void aStopStringEndsTheText() {
    Generation free = generate(request(40, SAMPLED, 'a'));
    String stop = free.text().substring(5, 7);
    Generation text = generate(new GenerationRequest(new int[] {'a'}, 40, SAMPLED, List.of(stop)));
    assertThat(text.finishReason()).isEqualTo(FinishReason.STOP);
    assertThat(text.text()).isEqualTo(free.text().substring(0, free.text().indexOf(stop)));
  }

  /** Law: a conversation over the kept cache is what each turn's whole text would give anew. */
  @Test
  void aConversationOverTheKeptCacheIsThatOfItsWholeText() {
    try (ChatSession session =
        new ChatSession(test.model, tokenizer, generator, SamplingOptions.GREEDY, 5)) {
      Generation first = session.say("a", GenerationListener.NONE).texts().get(0);
      String whole = ChatTemplate.userTurn("a", true) + first.text().stripTrailing();
      assertThat(session.numTokens()).isEqualTo(tokenizer.encode(whole).length);
      int[] prompt = tokenizer.encode(whole + ChatTemplate.userTurn("b", false));
      assertThat(prompt.length + 5).isLessThanOrEqualTo(session.contextLength());
      Generation anew =
          generate(new GenerationRequest(prompt, 5, SamplingOptions.GREEDY, ChatTemplate.stops()));
      Generation second = session.say("b", GenerationListener.NONE).texts().get(0);
      assertThat(second.promptIds()).containsExactly(prompt);
      assertThat(second.tokenIds()).containsExactly(anew.tokenIds());
      session.reset();
      assertThat(session.say("a", GenerationListener.NONE).texts().get(0).tokenIds())
          .containsExactly(first.tokenIds());
      assertThatThrownBy(() -> session.say("x".repeat(64), GenerationListener.NONE))
          .isInstanceOf(ChatSession.ContextFullException.class)
          .hasMessageStartingWith("context is full: the conversation would have ")
          .hasMessageEndingWith(
              "expected fewer than max_position_embeddings=64; start anew with /reset");
    }
  }

  /** Law: ids that the tokenizer does not know are not written, however likely they are. */
  @Test
  void idsBeyondTheTokenizersAreNotWritten() throws IOException {
    Map<String, Integer> padded =
        Map.of("vocab_size", 1000, "moe_intermediate_size", 16, "num_nextn_predict_layers", 1);
    try (InferenceCase wide =
        InferenceCase.random(TinyModel.config(padded), engine.kernels(), engine.decodeKernels())) {
      for (boolean speculative : new boolean[] {false, true}) {
        TextGenerator writer = new TextGenerator(wide.model, tokenizer, Set.of(), speculative);
        for (SamplingOptions options :
            List.of(SamplingOptions.GREEDY, SAMPLED, new SamplingOptions(1, 0, 1, 3))) {
          Generation text =
              writer
                  .generate(List.of(request(40, options, 'a')), 1, GenerationListener.NONE)
                  .texts()
                  .get(0);
          for (int i = 0; i < 40; i++) {
            assertThat(text.tokenIds()[i]).isLessThan(tokenizer.vocabSize());
          }
          double[] p = logProbabilities(wide, 'a');
          assertThat((double) text.logProbabilities()[0])
              .isCloseTo(p[text.tokenIds()[0]], within(1e-4));
        }
      }
    }
  }

  /** Of every id of the model after one token. */
  private static double[] logProbabilities(InferenceCase of, int token) {
    try (LatentCache cache = of.model.newCache(1)) {
      Tensor logits =
          of.model.forward(List.of(new Append(cache, token)), InferenceModel.Logits.ALL).logits();
      double sum = 0;
      for (int i = 0; i < logits.size(); i++) {
        sum += Math.exp(logits.get(i));
      }
      double[] p = new double[logits.size()];
      for (int i = 0; i < p.length; i++) {
        p[i] = logits.get(i) - Math.log(sum);
      }
      return p;
    }
  }

  @Test
  void aConversationStartsOnceWithTheModelsBeginOfText() {
    int begin = 255;
    try (ChatSession session =
        new ChatSession(test.model, tokenizer, generator, SamplingOptions.GREEDY, 3, begin)) {
      int[] first = session.say("a", GenerationListener.NONE).texts().get(0).promptIds();
      int[] turn = tokenizer.encode(ChatTemplate.userTurn("a", true));
      assertThat(first).startsWith(begin).endsWith(turn).hasSize(1 + turn.length);
      int[] second = session.say("b", GenerationListener.NONE).texts().get(0).promptIds();
      assertThat(second).startsWith(first);
      assertThat(Arrays.stream(second).filter(id -> id == begin)).hasSize(1);
      session.reset();
      assertThat(session.say("a", GenerationListener.NONE).texts().get(0).promptIds())
          .containsExactly(first);
    }
  }

  @Test
  void whatTheCachesOfRequestsTakeIsKnownBefore() {
    List<GenerationRequest> requests =
        List.of(request(9, SAMPLED, 1, 2), request(30, SAMPLED, 1), request(20, SAMPLED, 1, 2, 3));
    try (Arena arena = new Arena("test", 1 << 20);
        LatentCache longest = new LatentCache(test.config(), 31, 31, arena);
        LatentCache next = new LatentCache(test.config(), 23, 23, arena)) {
      assertThat(TextGenerator.cacheBytes(test.config(), requests, 2)).isEqualTo(arena.usedBytes());
      assertThat(longest.capacity()).isGreaterThan(next.capacity());
    }
  }

  @Test
  void aCacheThatDoesNotFitGivesBackWhatItTookAndTellsTheOwnersAdvice() {
    long layer = LatentCache.sizeBytes(test.config(), 64) / test.config().numLayers();
    try (Arena arena = new Arena("inference", layer, "lower --batch or --max-tokens")) {
      assertThatThrownBy(() -> new LatentCache(test.config(), 64, 64, arena))
          .isInstanceOf(OutOfArenaException.class)
          .hasMessageEndingWith("its limit is " + layer + "; lower --batch or --max-tokens");
      assertThat(arena.usedBytes()).isZero();
    }
  }

  /** Law: a turn that fails leaves the conversation as it was. */
  @Test
  void aTurnThatFailsIsForgotten() {
    try (ChatSession session =
            new ChatSession(test.model, tokenizer, generator, SamplingOptions.GREEDY, 5);
        ChatSession spared =
            new ChatSession(test.model, tokenizer, generator, SamplingOptions.GREEDY, 5)) {
      session.say("a", GenerationListener.NONE);
      spared.say("a", GenerationListener.NONE);
      int before = session.numTokens();
      assertThatThrownBy(
              () ->
                  session.say(
                      "lost",
                      (number, piece) -> {
                        throw new UncheckedIOException(new IOException("terminal is gone"));
                      }))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageEndingWith("terminal is gone");
      assertThat(session.numTokens()).isEqualTo(before);
      Generation answer = session.say("b", GenerationListener.NONE).texts().get(0);
      Generation expected = spared.say("b", GenerationListener.NONE).texts().get(0);
      assertThat(answer.promptIds()).containsExactly(expected.promptIds());
      assertThat(answer.logProbabilities()).containsExactly(expected.logProbabilities());
    }
  }

  @Test
  void whatDoesNotFitTheModelIsRefusedWithNumbers() {
    assertThatThrownBy(() -> generate(request(45, SAMPLED, new int[20])))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "context overflow: got a prompt of 20 tokens and max tokens 45, expected at most"
                + " max_position_embeddings=64 together; shorten one of them");
    assertThatThrownBy(() -> request(4, SAMPLED))
        .hasMessage("empty prompt: got 0 tokens, expected at least 1; write some text");
    assertThatThrownBy(
            () ->
                TextGenerator.requireVocabulary(
                    TinyModel.config(Map.of("vocab_size", 256)), tokenizer))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(
            "vocabulary mismatch: the tokenizer has 257 ids, expected at most the model's"
                + " vocab_size=256");
  }

  /** Law: layers x (latent + rope) x 4 bytes a token, at most a sixth of plain keys and values. */
  @Test
  void theCacheOfThePresetTakesTheBytesOfTheFormula() {
    ModelConfig config = new ConfigResolver().preset("quickstart").resolve().toRunConfig().model();
    try (Arena arena = new Arena("test", 1 << 26);
        LatentCache cache = new LatentCache(config, 100, 100, arena)) {
      long bytes = 4L * config.numLayers() * (config.kvLoraRank() + config.qkRopeHeadDim()) * 100;
      long plain =
          4L
              * config.numLayers()
              * config.numAttentionHeads()
              * (config.qkHeadDim() + config.vHeadDim())
              * 100;
      assertThat(cache.sizeBytes()).isEqualTo(bytes).isLessThanOrEqualTo(plain / 6);
      assertThat(arena.usedBytes()).isBetween(bytes, bytes + bytes / 8);
    }
  }
}
