package io.sparkmoe.spark.teach;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.io.OwnedStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.spark.data.AnswerFolder;
import io.sparkmoe.spark.data.HadoopStore;
import java.io.IOException;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;

/**
 * A job's folder: {@code answers/} as they came, {@code teach.json} that says whose they are, and
 * the dataset made of them: {@code data/}, {@code tokenizer.json}, and {@code distillation.json}
 * last, whose presence is the commit. It belongs to the job that began last.
 */
public final class TeachFolder implements AutoCloseable {

  private static final String ANSWERS = "answers";
  private static final String DATA = "data";
  private static final String SETTINGS = "teach.json";
  private static final String TOKENIZER = "tokenizer.json";

  private static final ObjectMapper JSON = new ObjectMapper();

  private final Store store;
  private final Store answers;

  /** The folder with its scheme, for Spark, whose default file system may be another one. */
  private final String location;

  private TeachFolder(Store store, Store answers, String location) {
    this.store = store;
    this.answers = answers;
    this.location = location;
  }

  /** Opens a folder, which need not exist. */
  public static TeachFolder open(String location, Configuration configuration) throws IOException {
    Path path = new Path(location);
    String qualified = path.getFileSystem(configuration).makeQualified(path).toString();
    return new TeachFolder(
        new OwnedStore(HadoopStore.open(qualified, configuration)),
        HadoopStore.open(qualified + "/" + ANSWERS, configuration),
        qualified);
  }

  /** The answers in it. */
  public AnswerFolder answers() {
    return new AnswerFolder(answers, answersLocation());
  }

  /** Where the answers lie. */
  public String answersLocation() {
    return location + "/" + ANSWERS;
  }

  /**
   * Refuses a folder that holds something else, or answers that were asked for otherwise.
   *
   * @throws IllegalArgumentException naming what is there
   */
  public void requireGoesOn(TeacherSpec teacher, SamplingSettings sampling) throws IOException {
    List<String> present = store.list("");
    boolean ours = present.contains(SETTINGS) || present.contains(ANSWERS);
    if (!present.isEmpty() && !ours) {
      throw new IllegalArgumentException(
          "--out "
              + store.location()
              + " is not empty, it holds "
              + present.get(0)
              + ", expected an earlier run of moe teach or nothing; give another folder");
    }
    if (!present.contains(SETTINGS)) {
      return;
    }
    String then = store.readText(SETTINGS).strip();
    String now = settings(teacher.identity(), teacher.form(), sampling);
    // Earlier versions did not write the form down.
    if (!then.equals(now) && !then.equals(settings(teacher.identity(), null, sampling))) {
      throw new IllegalArgumentException(
          "--out "
              + store.location()
              + " holds answers that were asked for as "
              + then
              + ", this command asks as "
              + now
              + "; repeat the options or give another folder");
    }
  }

  /** Notes whose answers these are. */
  public void begin(TeacherSpec teacher, SamplingSettings sampling) throws IOException {
    store.writeText(SETTINGS, settings(teacher.identity(), teacher.form(), sampling) + "\n");
  }

  private static String settings(TeacherIdentity teacher, String form, SamplingSettings sampling) {
    ObjectNode settings = JSON.createObjectNode();
    settings.put("teacher", teacher.name());
    settings.put("revision", teacher.revision());
    settings.put("tokenizer", teacher.tokenizerSha256());
    settings.put("maxTokens", sampling.maxTokens());
    settings.put("temperature", sampling.temperature());
    settings.put("topP", sampling.topP());
    settings.put("topK", sampling.topK());
    settings.put("seed", sampling.seed());
    if (form != null) {
      settings.put("form", form);
    }
    return settings.toString();
  }

  /**
   * Writes the dataset, in place of an earlier one.
   *
   * @param rows sorted
   * @param tokenizerJson null = not known
   */
  public void write(Dataset<Row> rows, String tokenizerJson, DistillationInfo info)
      throws IOException {
    store.delete(DistillationInfo.FILE);
    store.delete(DATA);
    rows.write().parquet(location + "/" + DATA);
    if (tokenizerJson != null) {
      store.writeText(TOKENIZER, tokenizerJson);
    }
    store.writeText(DistillationInfo.FILE, info.toJson());
  }

  @Override
  public void close() throws IOException {
    try (store) {
      answers.close();
    }
  }
}
