package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.CheckpointState;
import io.sparkmoe.train.GradientComparison;
import io.sparkmoe.train.GradientComparison.Kind;
import io.sparkmoe.train.GradientComparison.Result;
import io.sparkmoe.train.Precision;
import java.io.IOException;
import java.io.PrintStream;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;

/**
 * {@code moe bench fp8-gradients}: gradients of one batch of training rows in FP8 against FP32, on
 * the weights of a checkpoint, by kind of parameter.
 */
public final class GradientBenchJob {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Activations of one pass, on top of weights and gradients. */
  private static final long WORK_BYTES = 3L << 30;

  private final GradientBenchOptions options;
  private final PrintStream out;

  public GradientBenchJob(GradientBenchOptions options, PrintStream out) {
    this.options = options;
    this.out = out;
  }

  /** Prints a table, and one JSON object on its last line. */
  public void run() throws IOException {
    Configuration hadoop = HadoopSettings.current();
    TokenDataset dataset = TokenDataset.open(options.data(), hadoop);
    try (Store store = HadoopStore.open(options.checkpoint(), hadoop);
        CheckpointReader checkpoint = CheckpointFolder.open(store, options.checkpoint(), out)) {
      CheckpointState.requireTokenizer(checkpoint, dataset.info().tokenizerSha256());
      List<TokenRow> rows = dataset.readLocally(TokenDataset.TRAIN);
      if (rows.size() < options.rows()) {
        throw new IllegalArgumentException(
            "--rows must be at most the "
                + rows.size()
                + " training rows of "
                + dataset.location()
                + ", got "
                + options.rows());
      }
      Result result =
          GradientComparison.of(
              checkpoint,
              RowOrder.evenlySpaced(rows, options.rows()),
              dataset.info().seqLen(),
              options.recipe(),
              options.threads() > 0
                  ? options.threads()
                  : Runtime.getRuntime().availableProcessors(),
              memoryBytes(checkpoint));
      print(result);
      out.println(JSON.writeValueAsString(report(checkpoint, result)));
    }
  }

  /** Weights, their gradients and their operands, with the arena's rounding. */
  private static long memoryBytes(CheckpointReader checkpoint) throws IOException {
    long elements = Parameters.numElements(checkpoint.model(), EnumSet.allOf(Part.class));
    int operandBytes = Precision.FP8.operandBytes(checkpoint.manifest().gemmBackend());
    long bytes = elements * (2 * Float.BYTES + operandBytes);
    return bytes + bytes / 8 + WORK_BYTES;
  }

  private void print(Result result) {
    out.printf(
        Locale.ROOT,
        "%-32s %12s %10s %14s %12s%n",
        "kind",
        "elements",
        "cosine",
        "same experts",
        "norm ratio");
    result
        .kinds()
        .forEach(
            (name, kind) ->
                out.printf(
                    Locale.ROOT,
                    "%-32s %12d %10.5f %14.5f %12.4f%n",
                    name,
                    kind.elements(),
                    kind.cosine(),
                    kind.cosineOfSameExperts(),
                    kind.normRatio()));
  }

  private ObjectNode report(CheckpointReader checkpoint, Result result) {
    ObjectNode report = JSON.createObjectNode();
    report.put("step", checkpoint.manifest().step());
    report.put("recipe", options.recipe().name().toLowerCase(Locale.ROOT));
    report.put("rows", options.rows());
    report.put("fp32Loss", result.fp32Loss());
    report.put("fp8Loss", result.fp8Loss());
    report.put("sameExperts", result.sameExperts());
    ObjectNode cosines = report.putObject("cosine");
    ObjectNode ofSameExperts = report.putObject("cosineOfSameExperts");
    for (var entry : result.kinds().entrySet()) {
      Kind kind = entry.getValue();
      cosines.put(entry.getKey(), kind.cosine());
      ofSameExperts.put(entry.getKey(), kind.cosineOfSameExperts());
    }
    return report;
  }
}
