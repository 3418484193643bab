package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.GoldenCases;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.ReferenceDecodeKernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.ModelConfig.MtpHidden;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Decoding over the cache gives what the training model's full forward gives. */
class InferenceModelTest {

  private static final float TOLERANCE = 1e-4f;

  private static ComputeEngine fastest;

  @BeforeAll
  static void open() {
    fastest = ComputeEngine.open("infer", "auto", 2);
  }

  @AfterAll
  static void close() {
    fastest.close();
  }

  private interface Law {
    void check(InferenceCase test) throws IOException;
  }

  @TestFactory
  Stream<DynamicTest> laws() {
    return Stream.of(
            Map.<String, Law>entry("the cache gives the full forward's logits", this::equalsFull),
            Map.<String, Law>entry("MTP modules over their cache too", this::mtpEqualsFull),
            Map.<String, Law>entry("a batch gives each sequence's own bits", this::batch),
            Map.<String, Law>entry("what was cut off leaves no trace", this::truncated))
        .flatMap(
            law ->
                Stream.concat(
                        Stream.of("tiny", "yarn-no-q-lora", "shared-two")
                            .map(InferenceModelTest::golden),
                        Stream.of(
                            new Source("odd widths", InferenceModelTest::oddWidths),
                            new Source("whole vectors", InferenceModelTest::wholeVectors)))
                    .flatMap(
                        source ->
                            Stream.of(false, true)
                                .map(
                                    reference ->
                                        DynamicTest.dynamicTest(
                                            source.name
                                                + (reference ? ", reference: " : ", vector: ")
                                                + law.getKey(),
                                            () -> {
                                              try (InferenceCase test =
                                                  source.opener.open(reference)) {
                                                law.getValue().check(test);
                                              }
                                            }))));
  }

  private interface Opener {
    InferenceCase open(boolean reference) throws IOException;
  }

  private record Source(String name, Opener opener) {}

  private static Source golden(String name) {
    Path folder =
        GoldenCases.with("config.json", "model.safetensors").stream()
            .filter(f -> f.endsWith(name))
            .findFirst()
            .orElseThrow();
    return new Source(
        name,
        reference ->
            reference
                ? InferenceCase.golden(folder, new ReferenceKernels(), new ReferenceDecodeKernels())
                : InferenceCase.golden(folder, fastest.kernels(), fastest.decodeKernels()));
  }

  private static InferenceCase oddWidths(boolean reference) throws IOException {
    return random(Map.of("num_nextn_predict_layers", 2), reference);
  }

  private static InferenceCase wholeVectors(boolean reference) throws IOException {
    return random(
        Map.of(
            "hidden_size", 48,
            "moe_intermediate_size", 16,
            "intermediate_size", 32,
            "n_routed_experts", 64,
            "q_lora_rank", 0,
            "kv_lora_rank", 80,
            "vocab_size", 131),
        reference);
  }

  private static InferenceCase random(Map<String, ?> changes, boolean reference)
      throws IOException {
    ModelConfig config = TinyModel.config(changes);
    return reference
        ? InferenceCase.random(config, new ReferenceKernels(), new ReferenceDecodeKernels())
        : InferenceCase.random(config, fastest.kernels(), fastest.decodeKernels());
  }

  /** Law: logits over the cache = logits of the full forward, whatever the blocks of the prompt. */
  private void equalsFull(InferenceCase test) {
    int[] tokens = test.tokens(new Random(InferenceCase.SEED), 64);
    float[] expected = test.trace(tokens).logits().toFloatArray();
    for (int block : new int[] {1, 7, 64}) {
      assertThat(test.logitsInBlocks(block, tokens))
          .as("blocks of %d, seed %d", block, InferenceCase.SEED)
          .containsExactly(expected, within(TOLERANCE * largest(expected)));
    }
  }

  /** Law: MTP logits over the MTP modules' own cache = those of the full forward. */
  private void mtpEqualsFull(InferenceCase test) {
    int depths = test.config().numMtpModules();
    int[] tokens = test.tokens(new Random(InferenceCase.SEED), 24);
    LanguageModel.Trace trace = test.trace(tokens);
    boolean postNorm = test.config().mtpHidden() == MtpHidden.POST_NORM;
    List<List<Float>> logits = new ArrayList<>();
    for (int k = 0; k < depths; k++) {
      logits.add(new ArrayList<>());
    }
    try (LatentCache cache = test.model.newCache(tokens.length)) {
      for (int i = 0; i < tokens.length; i++) {
        InferenceModel.Output below =
            test.model.forward(List.of(new Append(cache, tokens[i])), Logits.NONE);
        for (int k = 1; k <= depths && i + k < tokens.length; k++) {
          Tensor previous = postNorm ? below.normed() : below.hidden();
          below =
              test.model.forwardMtp(
                  k, previous, List.of(new Append(cache, tokens[i + k])), Logits.ALL);
          InferenceCase.append(logits.get(k - 1), below.logits());
        }
      }
      for (int k = 1; k <= depths; k++) {
        float[] expected = trace.mtpLogits().get(k - 1).toFloatArray();
        assertThat(InferenceCase.toArray(logits.get(k - 1)))
            .as("depth %d, seed %d", k, InferenceCase.SEED)
            .containsExactly(expected, within(TOLERANCE * largest(expected)));
        assertThat(cache.length(k)).isEqualTo(tokens.length - k);
      }
    }
  }

  /**
   * Law: a sequence's logits have the same bits alone and in a batch of unequal lengths, and in a
   * cache that grows.
   */
  private void batch(InferenceCase test) {
    Random random = new Random(InferenceCase.SEED);
    int vocabulary = test.config().vocabSize();
    int[] lengths = {3, 1, 40, 5, 2};
    List<LatentCache> caches = new ArrayList<>();
    List<Append> prompts = new ArrayList<>();
    List<Append> next = new ArrayList<>();
    for (int length : lengths) {
      caches.add(test.model.newCache(48));
      prompts.add(new Append(caches.get(caches.size() - 1), test.tokens(random, length)));
      next.add(new Append(caches.get(caches.size() - 1), test.tokens(random, 1)));
    }
    test.model.forward(prompts, Logits.LAST);
    float[] together = test.model.forward(next, Logits.LAST).logits().toFloatArray();
    for (int s = 0; s < lengths.length; s++) {
      try (LatentCache cache = test.model.newCache(48, 2)) {
        test.model.forward(List.of(new Append(cache, prompts.get(s).tokens())), Logits.NONE);
        float[] alone =
            test.model
                .forward(List.of(new Append(cache, next.get(s).tokens())), Logits.LAST)
                .logits()
                .toFloatArray();
        assertThat(alone)
            .as("sequence %d, seed %d", s, InferenceCase.SEED)
            .containsExactly(Arrays.copyOfRange(together, s * vocabulary, (s + 1) * vocabulary));
      }
    }
    caches.forEach(LatentCache::close);
  }

  /** Law: after tokens are taken back, others give the bits that they would have given at once. */
  private void truncated(InferenceCase test) {
    Random random = new Random(InferenceCase.SEED);
    int[] prompt = test.tokens(random, 6);
    int[] refused = test.tokens(random, 4);
    int[] right = test.tokens(random, 2);
    try (LatentCache cache = test.model.newCache(12);
        LatentCache fresh = test.model.newCache(12)) {
      test.model.forward(List.of(new Append(cache, prompt)), Logits.NONE);
      test.model.forward(List.of(new Append(cache, refused)), Logits.NONE);
      cache.truncate(prompt.length);
      float[] again =
          test.model.forward(List.of(new Append(cache, right)), Logits.ALL).logits().toFloatArray();
      test.model.forward(List.of(new Append(fresh, prompt)), Logits.NONE);
      float[] atOnce =
          test.model.forward(List.of(new Append(fresh, right)), Logits.ALL).logits().toFloatArray();
      assertThat(again).as("seed %d", InferenceCase.SEED).containsExactly(atOnce);
    }
  }

  @Test
  void aFullCacheAndAForeignTokenAreRefusedAndNothingIsAdded() throws IOException {
    try (InferenceCase test = oddWidths(false);
        LatentCache cache = test.model.newCache(3)) {
      test.model.forward(List.of(new Append(cache, 1, 2)), Logits.NONE);
      assertThatThrownBy(() -> test.model.forward(List.of(new Append(cache, 3, 4)), Logits.NONE))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "context is full: got 2 more tokens after 2, expected at most 3 together; shorten the"
                  + " prompt or start anew");
      assertThatThrownBy(() -> test.model.forward(List.of(new Append(cache, 13)), Logits.NONE))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("token id must be in [0, vocabSize=13), got 13");
      assertThat(cache.length()).isEqualTo(2);
    }
  }

  private static float largest(float[] values) {
    float largest = 1;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }
}
