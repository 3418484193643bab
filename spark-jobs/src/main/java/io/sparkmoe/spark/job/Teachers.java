package io.sparkmoe.spark.job;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.http.ApiKey;
import io.sparkmoe.distill.http.BudgetLimits;
import io.sparkmoe.distill.http.Endpoint;
import io.sparkmoe.distill.http.HttpTeacherSettings;
import io.sparkmoe.distill.http.Models;
import io.sparkmoe.distill.http.RetryPolicy;
import io.sparkmoe.spark.teach.HttpTeacherSpec;
import io.sparkmoe.spark.teach.TeacherSpec;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** Finds the teacher that the options name. */
final class Teachers {

  private static final String KEY_VARIABLE = "MOE_TEACHER_API_KEY";
  private static final String CHECKPOINT = "checkpoint:";
  private static final String DL4J = "dl4j:";
  private static final String BYTE = "byte";
  private static final String JSON_FILE = ".json";

  /** Enough for what any endpoint calls a key. */
  private static final int MAX_KEY_BYTES = 1 << 14;

  private Teachers() {}

  /**
   * The teacher, checked as far as that costs nothing.
   *
   * @throws IllegalArgumentException when there is no such teacher
   */
  static TeacherSpec of(TeachOptions options, Configuration hadoop)
      throws IOException, InterruptedException {
    String teacher = options.teacher();
    boolean local = teacher.startsWith(CHECKPOINT) || teacher.startsWith(DL4J);
    // What looks like an address is refused as one: without the key that may stand in it.
    if (!local && (teacher.contains("://") || teacher.contains("@"))) {
      return http(options, hadoop);
    }
    SamplingSettings sampling = options.sampling();
    String tokenizer = tokenizer(options.tokenizer(), hadoop);
    if (teacher.startsWith(CHECKPOINT)) {
      return LocalTeachers.checkpoint(
          teacher.substring(CHECKPOINT.length()), tokenizer, sampling, hadoop);
    }
    if (teacher.startsWith(DL4J)) {
      return LocalTeachers.dl4j(teacher.substring(DL4J.length()), tokenizer, sampling, hadoop);
    }
    throw new IllegalArgumentException(
        "unknown teacher: got "
            + teacher
            + ", expected http(s)://HOST[:PORT], checkpoint:DIR or dl4j:FILE; correct --teacher");
  }

  private static TeacherSpec http(TeachOptions options, Configuration hadoop)
      throws IOException, InterruptedException {
    TeachOptions.Host host = options.host();
    Endpoint endpoint =
        Endpoint.parse(
            options.teacher(), host.completions() ? Endpoint.Api.COMPLETIONS : Endpoint.Api.CHAT);
    if (options.prompts().force()) {
      throw new IllegalArgumentException(
          "--force does not go with an endpoint: got "
              + endpoint.base()
              + ", expected a teacher that judges given text; use checkpoint:DIR or dl4j:FILE");
    }
    BudgetLimits budget =
        new BudgetLimits(host.budgetTokens(), host.budgetMoney(), host.priceIn(), host.priceOut());
    RetryPolicy retry =
        new RetryPolicy(
            host.maxAttempts(),
            Duration.ofSeconds(1),
            Duration.ofMinutes(1),
            Duration.ofSeconds(host.timeoutSeconds()));
    ApiKey key = key(host.keyFile(), hadoop);
    String tokenizer = tokenizer(options.tokenizer(), hadoop);
    String model = host.model() == null ? Models.onlyOne(endpoint, key) : host.model();
    return new HttpTeacherSpec(
        new HttpTeacherSettings(
            endpoint,
            model,
            key,
            options.sampling(),
            host.concurrency(),
            host.rate(),
            retry,
            budget),
        tokenizer);
  }

  private static ApiKey key(String file, Configuration hadoop) throws IOException {
    if (file == null) {
      String variable = System.getenv(KEY_VARIABLE);
      return variable == null ? ApiKey.NONE : new ApiKey(variable);
    }
    return new ApiKey(read(file, "--api-key-file", hadoop, MAX_KEY_BYTES));
  }

  /**
   * The text of the tokenizer.json that an option names, null = none. A file of another name holds
   * a teacher's characters in the order of their ids.
   */
  static String tokenizer(String option, Configuration hadoop) throws IOException {
    if (option == null) {
      return null;
    }
    if (option.equals(BYTE)) {
      return new ByteTokenizer().toJson();
    }
    String text = read(option, "--tokenizer", hadoop, Integer.MAX_VALUE);
    try (Tokenizer tokenizer =
        option.endsWith(JSON_FILE)
            ? Tokenizers.fromJson(text)
            : Tokenizers.ofCharactersInOrder(text)) {
      return tokenizer.toJson();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "--tokenizer " + option + ": " + e.getMessage() + "; give the teacher's own", e);
    }
  }

  private static String read(String file, String option, Configuration hadoop, int maxBytes)
      throws IOException {
    Path path = new Path(file);
    try (InputStream in = path.getFileSystem(hadoop).open(path)) {
      return new String(in.readNBytes(maxBytes), StandardCharsets.UTF_8);
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException(
          option + " is no file: got " + file + ", expected one that exists; correct the path", e);
    }
  }
}
