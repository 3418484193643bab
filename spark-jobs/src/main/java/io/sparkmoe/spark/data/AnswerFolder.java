package io.sparkmoe.spark.data;

import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.io.Store;
import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * A teacher's answers on disk, as they came: the memory of a job that may be killed at any time.
 * How many answers a file holds and what they cost stands in its name, so that a listing tells how
 * far a job is.
 */
public final class AnswerFolder {

  private static final Pattern NAME =
      Pattern.compile("answers-[0-9a-f-]{36}-(\\d+)-(\\d+)-(\\d+)\\.parquet");

  private final Store store;
  private final String location;

  /**
   * @param location of the store with its scheme, as Spark reads it
   */
  public AnswerFolder(Store store, String location) {
    this.store = store;
    this.location = location;
  }

  static String newName(int rows, TokenUsage usage) {
    return String.format(
        Locale.ROOT,
        "answers-%s-%d-%d-%d.parquet",
        UUID.randomUUID(),
        rows,
        usage.promptTokens(),
        usage.completionTokens());
  }

  /**
   * How far a job is.
   *
   * @param answers that are there; some may be counted twice for a moment while files are joined
   * @param usage what all answers so far have cost
   */
  public record State(long answers, TokenUsage usage) {}

  /** Reads it off the names of the files. */
  public State state() throws IOException {
    long answers = 0;
    TokenUsage usage = TokenUsage.NONE;
    for (String name : store.list("")) {
      Matcher parts = NAME.matcher(name);
      if (parts.matches()) {
        answers += Long.parseLong(parts.group(1));
        usage =
            usage.plus(
                new TokenUsage(Long.parseLong(parts.group(2)), Long.parseLong(parts.group(3))));
      }
    }
    return new State(answers, usage);
  }

  /** Whether there are none; files may hold nothing but what requests without an answer cost. */
  public boolean isEmpty() throws IOException {
    return state().answers() == 0;
  }

  /** Ids of the answered requests. */
  public Set<String> ids(SparkSession spark) throws IOException {
    Set<String> ids = new HashSet<>();
    if (!isEmpty()) {
      spark
          .read()
          .parquet(files().toArray(String[]::new))
          .select("id")
          .collectAsList()
          .forEach(row -> ids.add(row.getString(0)));
    }
    return ids;
  }

  /** The answers, each once. */
  public Dataset<Row> read(SparkSession spark) throws IOException {
    return DistillationRows.read(spark, files().toArray(String[]::new))
        .dropDuplicates(new String[] {"id"});
  }

  private List<String> files() throws IOException {
    return store.list("").stream()
        .filter(name -> NAME.matcher(name).matches())
        .map(name -> InputFiles.pattern(location + "/" + name))
        .toList();
  }
}
