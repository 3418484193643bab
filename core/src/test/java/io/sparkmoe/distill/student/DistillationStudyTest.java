package io.sparkmoe.distill.student;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.train.DistillConfig.Loss;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class DistillationStudyTest {

  @Test
  @DisplayName("gains are against cross-entropy on the same text, shares of full KL's gain")
  void table() {
    StudyArm text = new StudyArm(Loss.CROSS_ENTROPY, 1);
    StudyArm bucket = new StudyArm(Loss.BUCKET, 1);
    StudyArm full = new StudyArm(Loss.FORWARD_KL, 1);
    StudyArm fewText = new StudyArm(Loss.CROSS_ENTROPY, 0.05);
    StudyArm fewBucket = new StudyArm(Loss.BUCKET, 0.05);
    StudyTable table =
        new StudyTable(
            1.5,
            Map.of(
                text, List.of(2.0, 2.2),
                bucket, List.of(1.9, 1.9),
                full, List.of(1.85, 1.85),
                fewText, List.of(2.5),
                fewBucket, List.of(2.2)));
    assertThat(table.mean(text)).isCloseTo(2.1, within(1e-12));
    assertThat(table.spread(text)).isCloseTo(Math.sqrt(0.02), within(1e-12));
    assertThat(table.gain(bucket)).isCloseTo(0.2, within(1e-12));
    assertThat(table.shareOfFullGain(bucket)).isCloseTo(0.8, within(1e-12));
    assertThat(table.gain(fewBucket)).isCloseTo(0.3, within(1e-12));
    assertThat(table.shareOfFullGain(fewBucket)).isNaN();
    assertThat(table.spread(fewText)).isZero();
    assertThat(table.render()).contains("teacher").contains("2.1640").contains("80 %");
  }

  @Test
  @DisplayName("a text's last part is held out, one id for each of its characters")
  void characters() {
    CharacterText text = CharacterText.of("abcab".repeat(40), 0.25, 8);
    assertThat(text.vocabSize()).isEqualTo(4);
    assertThat(text.train().get(0).tokens()).containsExactly(0, 1, 2, 0, 1, 0, 1, 2, 0);
    assertThat(text.train()).hasSize(150 / 8 + 1);
    assertThat(text.validation()).hasSize(50 / 8 + 1);
  }
}
