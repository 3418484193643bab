package io.sparkmoe.distill.student;

import io.sparkmoe.train.DistillConfig.Loss;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a study found: mean and spread of every arm.
 *
 * @param teacherNats held-out loss of the teacher, nats per character
 * @param losses held-out losses by arm and seed, nats per character
 */
public record StudyTable(double teacherNats, Map<StudyArm, List<Double>> losses) {

  /** Mean held-out loss of an arm. */
  public double mean(StudyArm arm) {
    return losses.get(arm).stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  /** Standard deviation over the seeds of an arm; 0 of one seed. */
  public double spread(StudyArm arm) {
    List<Double> all = losses.get(arm);
    double mean = mean(arm);
    double squares = all.stream().mapToDouble(x -> (x - mean) * (x - mean)).sum();
    return all.size() == 1 ? 0 : Math.sqrt(squares / (all.size() - 1));
  }

  /** How much lower an arm's loss is than that of cross-entropy on the same text. */
  public double gain(StudyArm arm) {
    return mean(new StudyArm(Loss.CROSS_ENTROPY, arm.textShare())) - mean(arm);
  }

  /** An arm's gain as a share of full KL's; NaN where the study has no full KL on the same text. */
  public double shareOfFullGain(StudyArm arm) {
    StudyArm full = new StudyArm(Loss.FORWARD_KL, arm.textShare());
    return losses.containsKey(full) ? gain(arm) / gain(full) : Double.NaN;
  }

  /** Nats as bits. */
  public static double bits(double nats) {
    return nats / Math.log(2);
  }

  /** The table for people. */
  public String render() {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%-38s %12s %9s %10s %8s %12s%n",
            "student",
            "nats/char",
            "spread",
            "bits/char",
            "gain",
            "of full KL's"));
    for (StudyArm arm : losses.keySet()) {
      double share = shareOfFullGain(arm);
      text.append(
          String.format(
              Locale.ROOT,
              "%-38s %12.4f %9.4f %10.4f %8.4f %12s%n",
              arm.label(),
              mean(arm),
              spread(arm),
              bits(mean(arm)),
              gain(arm),
              Double.isNaN(share) ? "" : String.format(Locale.ROOT, "%.0f %%", 100 * share)));
    }
    text.append(
        String.format(
            Locale.ROOT,
            "%-38s %12.4f %9s %10.4f%n",
            "teacher",
            teacherNats,
            "",
            bits(teacherNats)));
    return text.toString();
  }
}
