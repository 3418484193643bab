package io.sparkmoe.spark.job;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.spark.data.BadInputException;
import io.sparkmoe.spark.data.DatasetWriter;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.DocumentReader;
import io.sparkmoe.spark.data.NumberedDocuments;
import io.sparkmoe.spark.data.PackedRows;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.data.TokenizerSpec;
import java.io.IOException;
import java.util.Locale;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code moe prepare}: documents in, a dataset of token rows out. The same documents give the same
 * files, byte for byte in their rows, whatever the number of tasks, executors or input splits.
 */
public final class PrepareJob {

  private static final Logger LOG = LoggerFactory.getLogger(PrepareJob.class);

  private final SparkSession spark;
  private final PrepareOptions given;

  public PrepareJob(SparkSession spark, PrepareOptions given) {
    this.spark = spark;
    this.given = given;
  }

  /**
   * Runs the job.
   *
   * @return what dataset.json says
   * @throws IllegalArgumentException when input, tokenizer or output cannot be used, in one
   *     sentence; nothing is written then
   */
  public DatasetInfo run() throws IOException {
    try {
      return prepare();
    } catch (Exception e) { // Spark throws checked exceptions undeclared, around what a task threw
      Optional<BadInputException> bad = BadInputException.causeOf(e);
      if (bad.isPresent()) {
        throw bad.get();
      }
      throw e;
    }
  }

  private DatasetInfo prepare() throws IOException {
    Configuration hadoop = spark.sparkContext().hadoopConfiguration();
    PrepareOptions options =
        given.format() == null
            ? given.withFormat(DocumentFormat.of(given.inputs(), hadoop))
            : given;
    DatasetWriter writer = new DatasetWriter(spark, options.out());
    LOG.info(heldOut(options));
    TokenizerSpec spec = TokenizerSpec.parse(options.tokenizer(), hadoop);
    SourceRule source = options.source();
    DocumentReader reader =
        new DocumentReader(spark, options.format(), options.textColumn(), source.column());
    try (NumberedDocuments documents =
            NumberedDocuments.of(reader.read(options.inputs()), source, options.validationEvery());
        Tokenizer tokenizer = spec.open(documents::wordCounts);
        PackedRows rows = new PackedRows(documents, tokenizer, options.seqLen())) {
      requireOneRow(rows.info(), options.seqLen());
      writer.write(rows, tokenizer);
      LOG.info(
          "{}: {} training rows and {} validation rows of {} tokens, {} bytes per token",
          options.out(),
          rows.info().train().rows(),
          rows.info().validation().rows(),
          options.seqLen() + 1,
          String.format(Locale.ROOT, "%.3f", rows.info().train().bytesPerToken()));
      return rows.info();
    }
  }

  /** The share that is held out, which is the one asked for only where its inverse is whole. */
  static String heldOut(PrepareOptions options) {
    int every = options.validationEvery();
    return every == 0
        ? "no documents are held out for validation"
        : String.format(
            Locale.ROOT,
            "1 of %d documents is held out for validation, %.1f %% (--validation %s)",
            every,
            100.0 / every,
            options.validation());
  }

  private static void requireOneRow(DatasetInfo info, int seqLen) {
    long longest =
        info.train().sources().values().stream()
            .mapToLong(DatasetInfo.Source::tokens)
            .max()
            .orElse(0);
    if (longest < seqLen + 1) {
      throw new IllegalArgumentException(
          "input is too short for one training row: its largest source has "
              + longest
              + " tokens in "
              + info.train().documents()
              + " training documents, --seq-len "
              + seqLen
              + " needs "
              + (seqLen + 1)
              + "; give more text or a smaller --seq-len");
    }
  }
}
