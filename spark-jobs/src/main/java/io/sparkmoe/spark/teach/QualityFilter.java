package io.sparkmoe.spark.teach;

import static org.apache.spark.sql.functions.array_join;
import static org.apache.spark.sql.functions.coalesce;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.greatest;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.row_number;
import static org.apache.spark.sql.functions.size;
import static org.apache.spark.sql.functions.slice;
import static org.apache.spark.sql.functions.to_json;
import static org.apache.spark.sql.functions.udf;
import static org.apache.spark.sql.functions.when;

import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.quality.NgramSet;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.distill.quality.Repetition;
import io.sparkmoe.spark.data.LanguageDetector;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.api.java.UDF4;
import org.apache.spark.sql.expressions.Window;
import org.apache.spark.sql.types.DataTypes;

/**
 * Leaves out answers that are not worth learning from. Filters stand in a fixed order and an answer
 * is counted at the first that drops it.
 */
public final class QualityFilter {

  /** Names of the filters in their order. */
  public static final List<String> NAMES =
      List.of("finish reason", "length", "repetition", "language", "contamination", "duplicate");

  private static final String DROPPED_BY = "dropped_by";

  private static final Pattern BLANKS = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);

  private final QualityLimits limits;
  private final Broadcast<NgramSet> evaluation;

  /**
   * @param evaluation texts that must stay unseen
   */
  public QualityFilter(SparkSession spark, QualityLimits limits, NgramSet evaluation) {
    this.limits = limits;
    this.evaluation = JavaSparkContext.fromSparkContext(spark.sparkContext()).broadcast(evaluation);
  }

  /** The answers with the name of the filter that drops each, null = it stays. */
  public Dataset<Row> judge(Dataset<Row> answers) {
    Judge judge = new Judge(limits, evaluation);
    // Their text and not its JSON, whose escapes would hide words.
    Column asked = coalesce(col("prompt"), array_join(col("messages.content"), "\n"));
    Column own =
        udf(judge, DataTypes.StringType)
            .apply(asked, col("completion"), col("answer"), col("finish_reason"));
    Dataset<Row> judged = answers.withColumn(DROPPED_BY, own);
    if (!limits.duplicates()) {
      return judged;
    }
    Column text =
        udf((String answer) -> normalised(answer), DataTypes.StringType).apply(col("answer"));
    // Text that only asks is the same for all answers of a prompt; one with the answer would not
    // be.
    Column prompt = coalesce(col("prompt"), to_json(withoutLast(col("messages"))));
    Column number =
        row_number().over(Window.partitionBy(prompt, text, col(DROPPED_BY).isNull()).orderBy("id"));
    return judged
        .withColumn("occurrence", number)
        .withColumn(
            DROPPED_BY,
            when(col(DROPPED_BY).isNull().and(col("occurrence").gt(1)), lit("duplicate"))
                .otherwise(col(DROPPED_BY)))
        .drop("occurrence");
  }

  /** Equal for answers that say the same: signs count, as -5 is not 5. */
  private static String normalised(String answer) {
    return BLANKS.matcher(answer).replaceAll(" ").strip().toLowerCase(Locale.ROOT);
  }

  private static Column withoutLast(Column messages) {
    return slice(messages, lit(1), greatest(lit(0), size(messages).minus(1)));
  }

  /** How many answers each filter dropped, in their order. */
  public static Map<String, Long> dropped(Dataset<Row> judged) {
    Map<String, Long> counts = new LinkedHashMap<>();
    NAMES.forEach(name -> counts.put(name, 0L));
    judged
        .filter(col(DROPPED_BY).isNotNull())
        .groupBy(DROPPED_BY)
        .count()
        .collectAsList()
        .forEach(row -> counts.put(row.getString(0), row.getLong(1)));
    return counts;
  }

  /** The answers that no filter drops. */
  public static Dataset<Row> kept(Dataset<Row> judged) {
    return judged.filter(col(DROPPED_BY).isNull()).drop(DROPPED_BY);
  }

  /** Judges one answer by itself. */
  private static final class Judge implements UDF4<String, String, String, String, String> {
    private static final long serialVersionUID = 1;

    private final QualityLimits limits;
    private final Broadcast<NgramSet> evaluation;
    private transient LanguageDetector detector;

    Judge(QualityLimits limits, Broadcast<NgramSet> evaluation) {
      this.limits = limits;
      this.evaluation = evaluation;
    }

    @Override
    public String call(String asked, String completion, String answer, String finishReason) {
      boolean forced = DistillationRow.FORCED.equals(finishReason);
      if (!forced
          && !limits.finishReasons().isEmpty()
          && finishReason != null
          && !limits.finishReasons().contains(finishReason)) {
        return "finish reason";
      }
      if (answer.strip().length() < limits.minCharacters()
          || limits.maxCharacters() > 0 && answer.length() > limits.maxCharacters()) {
        return "length";
      }
      if (!forced && Repetition.shareOf(completion) > limits.maxRepetition()) {
        return "repetition";
      }
      if (!limits.languages().isEmpty()
          && !limits.languages().contains(detector().languageOf(answer))) {
        return "language";
      }
      if (evaluation.value().touches(completion)
          || asked != null && evaluation.value().touches(asked)) {
        return "contamination";
      }
      return null;
    }

    /** Made where it is used: its model is large and not serializable. */
    private LanguageDetector detector() {
      if (detector == null) {
        detector = new LanguageDetector(List.of());
      }
      return detector;
    }
  }
}
