package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.config.ConfigResolver;
import java.util.List;
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
}
