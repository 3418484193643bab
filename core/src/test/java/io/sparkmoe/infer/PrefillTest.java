package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PrefillTest {

  @ParameterizedTest
  @CsvSource({"dense-small,512", "tiny,512", "bench-small,2048", "deepseek-v3,630"})
  @DisplayName("a pass has 64 tokens for every expert, if their intermediate results are small")
  void passesSuitTheModel(String preset, int rows) {
    assertThat(
            Prefill.rows(
                new ConfigResolver()
                    .preset(preset)
                    .set(List.of("model.vocab_size=512"))
                    .resolve()
                    .toRunConfig()
                    .model()))
        .isEqualTo(rows);
  }

  /** Bits of a prompt's cache and of the logits after it. */
  private record Read(int[] cache, int[] logits) {}

  private static int[] bits(Tensor tensor, int from, int count) {
    int[] bits = new int[count];
    for (int i = 0; i < count; i++) {
      bits[i] = Float.floatToRawIntBits(tensor.getFloat(from + i));
    }
    return bits;
  }

  private static List<Read> read(InferenceModel model, List<int[]> prompts) {
    List<Sequence> sequences = new ArrayList<>();
    for (int[] prompt : prompts) {
      GenerationRequest request =
          new GenerationRequest(prompt, 1, SamplingOptions.GREEDY, List.of());
      sequences.add(new Sequence(sequences.size(), request, model.newCache(prompt.length), 0));
    }
    int[][] logits = new int[prompts.size()][];
    Prefill.run(
        model,
        sequences,
        (fed, appends, output) -> {
          for (int row = 0; row < fed.size(); row++) {
            if (fed.get(row).promptLeft() == 0) {
              int c = output.logits().cols();
              logits[fed.get(row).number()] = bits(output.logits(), row * c, c);
            }
          }
        });
    List<Read> read = new ArrayList<>();
    for (Sequence sequence : sequences) {
      int last = model.config().numHiddenLayers() - 1;
      Tensor entries = sequence.cache().view(last, 1).entries();
      read.add(new Read(bits(entries, 0, entries.size()), logits[sequence.number()]));
      sequence.close();
    }
    return read;
  }

  /** Law: what a prompt leaves in its cache has the same bits whatever is read beside it. */
  @ParameterizedTest
  @CsvSource({"onednn,4,2", "openblas,4,2", "onednn,33,3", "openblas,33,3"})
  void promptsLongerThanAPassAreReadAloneAsBesideOthers(String gemm, int latent, int heads)
      throws IOException {
    Map<String, Integer> shape =
        Map.of(
            "num_hidden_layers",
            3,
            "kv_lora_rank",
            latent,
            "num_attention_heads",
            heads,
            "max_position_embeddings",
            1024);
    try (ComputeEngine engine = ComputeEngine.open("test", gemm, 2);
        InferenceCase test =
            InferenceCase.random(
                TinyModel.config(shape), engine.kernels(), engine.decodeKernels())) {
      Random random = new Random(InferenceCase.SEED);
      List<int[]> prompts = new ArrayList<>();
      // Whole blocks and 3, 44, 3, 20, 0 and 37 tokens; the first pass ends within the second.
      for (int length : new int[] {195, 620, 3, 532, 64, 101}) {
        prompts.add(test.tokens(random, length));
      }
      List<Read> together = read(test.model, prompts);
      for (int i = 0; i < prompts.size(); i++) {
        Read alone = read(test.model, List.of(prompts.get(i))).get(0);
        Read beside = together.get(i);
        assertThat(Arrays.mismatch(beside.cache(), alone.cache()))
            .as("cache of %d", i)
            .isEqualTo(-1);
        assertThat(Arrays.mismatch(beside.logits(), alone.logits()))
            .as("logits of %d", i)
            .isEqualTo(-1);
      }
    }
  }
}
