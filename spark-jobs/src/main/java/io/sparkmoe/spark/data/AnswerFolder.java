package io.sparkmoe.spark.data;

import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.io.Store;
import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * A teacher's answers on disk, as they came: the memory of a job that may be killed at any time.
 * How many answers a file holds and what they cost stands in its name, so that a listing tells how
 * far a job is.
 */
public final class AnswerFolder {

  private final Store store;
  private final String location;

  /**
   * @param location of the store with its scheme, as Spark reads it
   */
  public AnswerFolder(Store store, String location) {
    this.store = store;
    this.location = location;
  }

  /**
   * How far a job is.
   *
   * @param answers that are there
   * @param usage what all answers so far have cost
   */
  public record State(long answers, TokenUsage usage) {}

  /** Reads it off the names of the files. */
  public State state() throws IOException {
    long answers = 0;
    TokenUsage usage = TokenUsage.NONE;
    for (AnswerFile file : AnswerFile.of(store.list(""))) {
      answers += file.answers();
      usage = usage.plus(file.usage());
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
    return AnswerFile.of(store.list("")).stream()
        .map(file -> InputFiles.pattern(location + "/" + file.name()))
        .toList();
  }
}
