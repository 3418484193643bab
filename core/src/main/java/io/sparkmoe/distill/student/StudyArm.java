package io.sparkmoe.distill.student;

import io.sparkmoe.train.DistillConfig.Loss;
import java.util.Locale;

/**
 * One way to train a student.
 *
 * @param loss what it is trained towards
 * @param textShare share of the training text that it sees
 */
public record StudyArm(Loss loss, double textShare) {

  /** Its name in a table. */
  public String label() {
    String name =
        switch (loss) {
          case CROSS_ENTROPY -> "cross-entropy";
          case ZERO_TAIL -> "top-k, zero tail";
          case BUCKET -> "top-k, tail bucket";
          case FORWARD_KL -> "full KL";
          case REVERSE_KL -> "top-k, reverse KL";
        };
    return textShare == 1
        ? name
        : name + String.format(Locale.ROOT, ", %.0f %% of the text", 100 * textShare);
  }
}
