package io.sparkmoe.spark.job;

import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.spark.data.DocumentFormat;
import java.util.List;
import java.util.Objects;

/**
 * What {@code moe teach} is asked for.
 *
 * @param prompts what to ask
 * @param teacher whom: an address, {@code checkpoint:DIR} or {@code dl4j:FILE}
 * @param host how to treat an endpoint
 * @param tokenizer {@code byte}, {@code bytes} or a file with the teacher's tokenizer; null = its
 *     own or none
 * @param sampling how it is to answer
 * @param samples answers for each prompt
 * @param quality what is kept
 * @param defaultFinishReasons whether the teacher's own good reasons to stop replace those in
 *     {@code quality}
 * @param evaluation file or folder of texts that must stay unseen; null = none
 * @param out folder to write
 */
public record TeachOptions(
    Prompts prompts,
    String teacher,
    Host host,
    String tokenizer,
    SamplingSettings sampling,
    int samples,
    QualityLimits quality,
    boolean defaultFinishReasons,
    String evaluation,
    String out) {

  /**
   * Where prompts come from.
   *
   * @param paths files, folders or patterns
   * @param format null = as the names of the files say
   * @param force judge given text instead of answering: completions beside the prompts, or whole
   *     texts when {@code windowLength} is above 0
   * @param windowLength tokens of the windows that whole texts are cut into, 0 = they are prompts
   */
  public record Prompts(
      List<String> paths, DocumentFormat format, boolean force, int windowLength) {
    public Prompts {
      paths = List.copyOf(paths);
      require(!paths.isEmpty(), "--prompts must name at least one file or folder, got none");
      require(windowLength >= 0, "--seq-len must be at least 0, got " + windowLength);
      require(windowLength == 0 || force, "--seq-len cuts given text, it needs --force; add it");
    }
  }

  /**
   * An endpoint's treatment, for all tasks together.
   *
   * @param model name to ask for, null = the only one it has
   * @param completions whether to use the plain form of request
   * @param keyFile file with the key, null = the environment's, if any
   * @param concurrency requests under way at most
   * @param rate requests started per second at most, 0 = no limit
   * @param timeoutSeconds of one try
   * @param maxAttempts tries of a request
   * @param budgetTokens tokens at most, 0 = no limit
   * @param budgetMoney money at most, 0 = no limit
   * @param priceIn of a million tokens read
   * @param priceOut of a million tokens written
   */
  public record Host(
      String model,
      boolean completions,
      String keyFile,
      int concurrency,
      double rate,
      int timeoutSeconds,
      int maxAttempts,
      long budgetTokens,
      double budgetMoney,
      double priceIn,
      double priceOut) {
    public Host {
      requireAmount("--budget-tokens", budgetTokens);
      requireAmount("--budget-money", budgetMoney);
      requireAmount("--price-in", priceIn);
      requireAmount("--price-out", priceOut);
    }

    /** NaN would compare as within any limit. */
    private static void requireAmount(String option, double amount) {
      require(
          amount >= 0 && Double.isFinite(amount),
          "wrong " + option + ": got " + amount + ", expected a number of at least 0; correct it");
    }
  }

  public TeachOptions {
    Objects.requireNonNull(prompts);
    Objects.requireNonNull(host);
    Objects.requireNonNull(sampling);
    Objects.requireNonNull(quality);
    require(teacher != null && !teacher.isBlank(), "--teacher must name a teacher, got none");
    require(samples >= 1, "--samples must be at least 1, got " + samples);
    require(out != null && !out.isBlank(), "--out must be a folder, got none");
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException(message);
    }
  }
}
