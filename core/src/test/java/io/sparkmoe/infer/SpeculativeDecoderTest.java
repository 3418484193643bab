package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.TinyModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Drafting changes the speed and nothing else. */
class SpeculativeDecoderTest {

  private static final long SEED = InferenceCase.SEED;

  private static ComputeEngine fastest;

  @BeforeAll
  static void open() {
    fastest = ComputeEngine.open("speculative", "onednn", 2);
  }

  @AfterAll
  static void close() {
    fastest.close();
  }

  /** Law: with the likeliest token always chosen, the text is that of plain decoding. */
  @ParameterizedTest
  @CsvSource({
    "FP32, FP32, 0, post_norm, 1",
    "FP32, FP32, 0, pre_norm, 5",
    "BF16, BF16, 0, post_norm, 4",
    "FP8,  FP8,  0, post_norm, 1",
    "FP32, FP32, 3, post_norm, 3",
    "FP32, FP8,  3, post_norm, 2",
  })
  void greedyTextIsThatOfPlainDecodingForAHundredPrompts(
      WeightFormat format, WeightFormat draftFormat, int denseLayers, String mtpHidden, int batch)
      throws IOException {
    try (InferenceCase test = model(format, draftFormat, denseLayers, mtpHidden)) {
      Random random = new Random(SEED);
      List<GenerationRequest> requests = new ArrayList<>();
      for (int i = 0; i < 100; i++) {
        requests.add(
            new GenerationRequest(
                test.tokens(random, 1 + i % 23), 12 + i % 5, SamplingOptions.GREEDY, List.of()));
      }
      PlainDecoder plain = new PlainDecoder(test.model, sampler(test));
      SpeculativeDecoder speculative = new SpeculativeDecoder(test.model, sampler(test));
      for (int first = 0; first < requests.size(); first += batch) {
        List<GenerationRequest> some =
            requests.subList(first, Math.min(requests.size(), first + batch));
        assertThat(write(test, speculative, some))
            .as("prompts from %d, seed %d", first, SEED)
            .isEqualTo(write(test, plain, some));
      }
      // Random weights agree by chance, once in so many ids: both ways are gone often.
      assertThat(speculative.draftAcceptance()).isBetween(0.02, 0.6);
    }
  }

  /**
   * Law: sampled text has the distribution of the main model. Pearson's chi-square of the second
   * and third token together against their exact probabilities.
   */
  @ParameterizedTest
  @CsvSource({"1.0, 0, 1.0", "0.7, 0, 0.9", "1.3, 6, 1.0"})
  void sampledTextHasTheMainModelsDistribution(double temperature, int topK, double topP)
      throws IOException {
    try (InferenceCase test = model(WeightFormat.FP32, WeightFormat.FP32, 3, "post_norm")) {
      int draws = 6000;
      int[] prompt = test.tokens(new Random(SEED), 4);
      SamplingOptions options = new SamplingOptions(temperature, topK, topP, 0);
      double[] expected = exact(test, prompt, options);
      double[] seen = new double[expected.length];
      SpeculativeDecoder decoder = new SpeculativeDecoder(test.model, sampler(test));
      int vocabulary = test.config().vocabSize();
      int batch = 40;
      for (int first = 0; first < draws; first += batch) {
        List<GenerationRequest> requests = new ArrayList<>();
        for (int i = 0; i < batch; i++) {
          SamplingOptions own = options.withSeed(SEED * draws + first + i);
          requests.add(new GenerationRequest(prompt, 3, own, List.of()));
        }
        for (List<Integer> text : write(test, decoder, requests)) {
          seen[text.get(1) * vocabulary + text.get(2)]++;
        }
      }

      double statistic = 0;
      int cells = 0;
      double rareSeen = 0;
      double rareExpected = 0;
      for (int i = 0; i < expected.length; i++) {
        double mean = expected[i] * draws;
        if (mean == 0) {
          assertThat(seen[i]).as("pair %d, which cannot occur", i).isZero();
        } else if (mean < 5) {
          rareSeen += seen[i];
          rareExpected += mean;
        } else {
          statistic += Math.pow(seen[i] - mean, 2) / mean;
          cells++;
        }
      }
      if (rareExpected >= 5) {
        statistic += Math.pow(rareSeen - rareExpected, 2) / rareExpected;
        cells++;
      }
      assertThat(cells).isGreaterThan(5);
      // Mean cells - 1, variance twice that; four deviations are passed once in some 10,000 runs.
      assertThat(statistic)
          .as("chi-square over %d cells, seed %d", cells, SEED)
          .isLessThan(cells - 1 + 4 * Math.sqrt(2.0 * (cells - 1)));
      assertThat(decoder.draftAcceptance()).isBetween(0.1, 0.9);
    }
  }

  /** Law: after every step, main and MTP cache hold all tokens but the newest. */
  @Test
  void refusedDraftsAreForgottenByBothCaches() throws IOException {
    try (InferenceCase test = model(WeightFormat.FP32, WeightFormat.FP32, 0, "post_norm");
        LatentCache cache = test.model.newCache(64)) {
      int[] prompt = test.tokens(new Random(SEED), 9);
      SamplingOptions options = new SamplingOptions(1, 0, 1, SEED);
      Sequence sequence =
          new Sequence(0, new GenerationRequest(prompt, 50, options, List.of()), cache, 0);
      SpeculativeDecoder decoder = new SpeculativeDecoder(test.model, sampler(test));
      decoder.prefill(List.of(sequence));
      int written = sequence.numTokens();
      assertThat(written).isEqualTo(1);
      boolean one = false;
      boolean two = false;
      while (sequence.numTokens() < 50) {
        decoder.step(List.of(sequence));
        one |= sequence.numTokens() == written + 1;
        two |= sequence.numTokens() == written + 2;
        written = sequence.numTokens();
        assertThat(cache.length()).isEqualTo(prompt.length + written - 1);
        assertThat(cache.length(1)).isEqualTo(prompt.length + written - 1);
      }
      assertThat(one).isTrue();
      assertThat(two).isTrue();

      // What the cache holds now gives the logits of the same tokens fed at once.
      int[] all = Arrays.copyOf(prompt, prompt.length + written);
      System.arraycopy(sequence.tokens(), 0, all, prompt.length, written);
      float[] continued =
          test.model
              .forward(List.of(new Append(cache, sequence.lastToken())), Logits.LAST)
              .logits()
              .toFloatArray();
      float[] fresh = test.logitsInBlocks(1, all);
      assertThat(continued)
          .containsExactly(
              Arrays.copyOfRange(fresh, fresh.length - continued.length, fresh.length),
              org.assertj.core.api.Assertions.within(1e-4f));
    }
  }

  @Test
  void aModelWithoutAnMtpModuleCannotDraft() throws IOException {
    ModelConfig config = TinyModel.config(Map.of("vocab_size", 300));
    try (InferenceCase test =
            InferenceCase.random(config, fastest.kernels(), fastest.decodeKernels());
        ByteTokenizer tokenizer = new ByteTokenizer()) {
      assertThatThrownBy(() -> new TextGenerator(test.model, tokenizer, Set.of(), true))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "speculative decoding needs a draft: the model has num_nextn_predict_layers=0,"
                  + " expected an MTP module; turn it off");
    }
  }

  /** Probabilities of the second and third token together, (C, C). */
  private static double[] exact(InferenceCase test, int[] prompt, SamplingOptions options) {
    int vocabulary = test.config().vocabSize();
    double[] joint = new double[vocabulary * vocabulary];
    float[] first = next(test, prompt, options);
    for (int a = 0; a < vocabulary; a++) {
      if (first[a] > 0) {
        float[] second = next(test, with(prompt, a), options);
        for (int b = 0; b < vocabulary; b++) {
          if (second[b] > 0) {
            float[] third = next(test, with(with(prompt, a), b), options);
            for (int c = 0; c < vocabulary; c++) {
              joint[b * vocabulary + c] += (double) first[a] * second[b] * third[c];
            }
          }
        }
      }
    }
    return joint;
  }

  private static float[] next(InferenceCase test, int[] tokens, SamplingOptions options) {
    float[] probabilities = new float[test.config().vocabSize()];
    try (LatentCache cache = test.model.newCache(tokens.length)) {
      sampler(test)
          .distribution(
              probabilities,
              test.model.forward(List.of(new Append(cache, tokens)), Logits.LAST).logits(),
              0,
              options);
    }
    return probabilities;
  }

  private static int[] with(int[] tokens, int next) {
    int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
    longer[tokens.length] = next;
    return longer;
  }

  private static List<List<Integer>> write(
      InferenceCase test, Decoder decoder, List<GenerationRequest> requests) {
    List<Sequence> sequences = new ArrayList<>();
    for (GenerationRequest request : requests) {
      LatentCache cache = test.model.newCache(request.promptIds().length + request.maxTokens());
      sequences.add(new Sequence(sequences.size(), request, cache, 0));
    }
    decoder.prefill(sequences);
    List<Sequence> active = new ArrayList<>(sequences);
    for (dropDone(active); !active.isEmpty(); dropDone(active)) {
      decoder.step(active);
    }
    List<List<Integer>> texts = new ArrayList<>();
    for (Sequence sequence : sequences) {
      texts.add(
          Arrays.stream(sequence.tokens()).limit(sequence.request().maxTokens()).boxed().toList());
      sequence.close();
    }
    return texts;
  }

  private static void dropDone(List<Sequence> active) {
    active.removeIf(sequence -> sequence.numTokens() >= sequence.request().maxTokens());
  }

  private static Sampler sampler(InferenceCase test) {
    return new Sampler(test.model.decodeKernels(), test.config().vocabSize());
  }

  private static InferenceCase model(
      WeightFormat format, WeightFormat draftFormat, int denseLayers, String mtpHidden)
      throws IOException {
    Map<String, Object> changes =
        new HashMap<>(Map.of("num_nextn_predict_layers", 1, "mtp_hidden", mtpHidden.toUpperCase()));
    changes.put("first_k_dense_replace", denseLayers);
    return InferenceCase.random(
        TinyModel.config(changes), format, draftFormat, fastest.kernels(), fastest.decodeKernels());
  }
}
