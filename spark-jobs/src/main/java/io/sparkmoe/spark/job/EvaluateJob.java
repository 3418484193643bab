package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.io.Store;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.spark.cluster.Preflight;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.CheckpointEvaluation;
import io.sparkmoe.train.CheckpointState;
import io.sparkmoe.train.Precision;
import io.sparkmoe.train.ResidentMemory;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;

/** {@code moe evaluate}: loss of a checkpoint on a dataset's validation rows, in this process. */
public final class EvaluateJob {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Sequences of a pass where memory does not ask for fewer; more would be no faster. */
  private static final int MOST_ROWS_PER_PASS = 16;

  private final EvaluateOptions options;
  private final PrintStream out;

  public EvaluateJob(EvaluateOptions options, PrintStream out) {
    this.options = options;
    this.out = out;
  }

  /** Prints one JSON object on its last line. */
  public void run() throws IOException {
    Configuration hadoop = HadoopSettings.current();
    TokenDataset dataset = TokenDataset.open(options.data(), hadoop);
    try (Store store = HadoopStore.open(options.checkpoint(), hadoop);
        CheckpointReader checkpoint = CheckpointFolder.open(store, options.checkpoint(), out)) {
      CheckpointState.requireTokenizer(checkpoint, dataset.info().tokenizerSha256());
      List<TokenRow> rows = dataset.readLocally(TokenDataset.VALIDATION);
      if (rows.isEmpty()) {
        throw new IllegalArgumentException(
            "dataset "
                + dataset.location()
                + " has no validation rows, expected at least one; prepare it with --validation"
                + " above 0");
      }
      Precision precision =
          options.precision() == null ? CheckpointState.precision(checkpoint) : options.precision();
      Fp8Recipe recipe =
          options.recipe() == null ? CheckpointState.recipe(checkpoint) : options.recipe();
      int seqLen = dataset.info().seqLen();
      Evaluation evaluation =
          CheckpointEvaluation.of(
              checkpoint,
              rows,
              seqLen,
              precision,
              recipe,
              Runtime.getRuntime().availableProcessors(),
              rowsPerPass(
                  checkpoint.model(), precision, checkpoint.manifest().gemmBackend(), seqLen));
      out.println(
          JSON.writeValueAsString(report(checkpoint.model(), precision, evaluation, dataset)));
    }
  }

  /** As many as the memory of this machine allows. */
  private static int rowsPerPass(
      ModelConfig model, Precision precision, String gemmBackend, int seqLen) {
    for (int rows = MOST_ROWS_PER_PASS; rows > 1; rows--) {
      if (Preflight.fitsThisMachine(
          ResidentMemory.evaluation(model, precision, gemmBackend, seqLen, rows).bytes())) {
        return rows;
      }
    }
    Preflight.checkThisMachine(
        ResidentMemory.evaluation(model, precision, gemmBackend, seqLen, 1).bytes(),
        "free some or take another machine");
    return 1;
  }

  private static ObjectNode report(
      ModelConfig model, Precision precision, Evaluation evaluation, TokenDataset dataset) {
    ObjectNode report = JSON.createObjectNode();
    report.put("validationLoss", evaluation.meanLoss());
    report.put(
        "validationBitsPerByte",
        evaluation.bitsPerByte(dataset.info().validation().bytesPerToken()));
    report.put("tokens", evaluation.targets());
    report.put(
        "expertLoadMaxOverMean",
        ExpertUses.of(model, evaluation).stream()
            .mapToDouble(ExpertUse::loadMaxOverMean)
            .max()
            .orElse(0));
    report.put("precision", precision.name().toLowerCase(Locale.ROOT));
    return report;
  }
}
