package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.data.TokenRow;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.ReferenceDecodeKernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.tensor.DType;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class WeightFormatTest {

  private static ComputeEngine fastest;

  @BeforeAll
  static void open() {
    fastest = ComputeEngine.open("weights", "onednn", 2);
  }

  @AfterAll
  static void close() {
    fastest.close();
  }

  /**
   * @param denseLayers of two
   */
  private static ModelConfig config(int denseLayers) {
    return TinyModel.config(
        Map.of(
            "hidden_size", 144,
            "first_k_dense_replace", denseLayers,
            "moe_intermediate_size", 48,
            "intermediate_size", 160,
            "n_routed_experts", 16,
            "vocab_size", 131));
  }

  /**
   * Law: rounded weights are the only difference to FP32, and a small one. Of a dense model, since
   * random gates choose other experts at the slightest difference.
   */
  @ParameterizedTest
  @EnumSource(WeightFormat.class)
  void logitsDifferByTheRoundingOfTheWeights(WeightFormat format) throws IOException {
    double error = relativeError(format, false, 2);
    switch (format) {
      case FP32 -> assertThat(error).isLessThan(1e-5);
      case BF16 -> assertThat(error).isBetween(1e-4, 2e-2);
      default -> assertThat(error).isBetween(1e-3, 2e-1);
    }
  }

  @ParameterizedTest
  @EnumSource(WeightFormat.class)
  void bothTwinsRoundAlike(WeightFormat format) throws IOException {
    assertThat(relativeError(format, true, 1)).isLessThan(1e-5);
  }

  /** Law: two tokens in one pass have the bits of one after the other, in every format. */
  @ParameterizedTest
  @EnumSource(WeightFormat.class)
  void twoTokensAtOnceHaveTheBitsOfOneAfterTheOther(WeightFormat format) throws IOException {
    try (InferenceCase test = narrow(format, 1)) {
      int[] prompt = test.tokens(new Random(InferenceCase.SEED), 20);
      try (LatentCache together = test.model.newCache(64);
          LatentCache single = test.model.newCache(64)) {
        test.model.forward(List.of(new Append(together, prompt)), Logits.NONE);
        test.model.forward(List.of(new Append(single, prompt)), Logits.NONE);
        for (int[] pair : new int[][] {{1, 2}, {130, 0}, {7, 7}}) {
          float[] both =
              test.model
                  .forward(List.of(new Append(together, pair)), Logits.ALL)
                  .logits()
                  .toFloatArray();
          for (int i = 0; i < 2; i++) {
            float[] one =
                test.model
                    .forward(List.of(new Append(single, pair[i])), Logits.ALL)
                    .logits()
                    .toFloatArray();
            int vocabulary = one.length;
            assertThat(Arrays.copyOfRange(both, i * vocabulary, (i + 1) * vocabulary))
                .containsExactly(one);
          }
        }
      }
    }
  }

  /** Law: the loss over the cache is that of the training model's full forward. */
  @Test
  void heldOutLossIsThatOfTheFullForward() throws IOException {
    try (InferenceCase test = narrow(WeightFormat.FP32, 1)) {
      Random random = new Random(InferenceCase.SEED);
      TokenRow whole = new TokenRow(0, test.tokens(random, 33), new int[0], 33, "a");
      TokenRow padded = new TokenRow(1, test.tokens(random, 33), new int[0], 12, "a");
      TokenRow single = new TokenRow(2, test.tokens(random, 33), new int[0], 1, "a");
      double sum = 0;
      for (TokenRow row : List.of(whole, padded)) {
        int inputs = row.numTokens() - 1;
        float[] logits = test.trace(Arrays.copyOf(row.tokens(), inputs)).logits().toFloatArray();
        for (int i = 0; i < inputs; i++) {
          double normaliser = 0;
          for (int j = 0; j < 131; j++) {
            normaliser += Math.exp(logits[i * 131 + j]);
          }
          sum += Math.log(normaliser) - logits[i * 131 + row.tokens()[i + 1]];
        }
      }
      assertThat(HeldOutLoss.mean(test.model, List.of(whole, padded, single)))
          .isCloseTo(sum / (32 + 11), within(1e-4));
      assertThatThrownBy(() -> HeldOutLoss.mean(test.model, List.of(single)))
          .hasMessageContaining("got 1 rows without a token to predict");
    }
  }

  @Test
  void weightsThatAreNotFiniteAreRefused() throws IOException {
    TinyModel tiny = new TinyModel(config(1), DType.F32, fastest.kernels());
    try {
      Parameter broken = tiny.parameters.find("model.layers.0.mlp.down_proj.weight");
      broken.value().setFloat(5, Float.NaN);
      assertThatThrownBy(
              () -> InferenceModel.load(new ParameterWeights(tiny.parameters), fastest, tiny.arena))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining(
              "starts with tensor model.layers.0.mlp.down_proj.weight holds NaN, expected finite");
    } finally {
      tiny.close();
    }
  }

  /** Root mean square of the logits' difference to the FP32 reference, over that of the logits. */
  private static double relativeError(WeightFormat format, boolean toTwin, int denseLayers)
      throws IOException {
    try (InferenceCase test = narrow(format, denseLayers);
        InferenceCase truth =
            InferenceCase.random(
                config(denseLayers),
                toTwin ? format : WeightFormat.FP32,
                new ReferenceKernels(),
                new ReferenceDecodeKernels())) {
      int[] tokens = test.tokens(new Random(InferenceCase.SEED), 12);
      float[] actual = test.logitsInBlocks(4, tokens);
      float[] expected = truth.logitsInBlocks(4, tokens);
      double difference = 0;
      double squares = 0;
      for (int i = 0; i < expected.length; i++) {
        difference += Math.pow(actual[i] - expected[i], 2);
        squares += Math.pow(expected[i], 2);
      }
      return Math.sqrt(difference / squares);
    }
  }

  private static InferenceCase narrow(WeightFormat format, int denseLayers) throws IOException {
    return InferenceCase.random(
        config(denseLayers), format, fastest.kernels(), fastest.decodeKernels());
  }
}
