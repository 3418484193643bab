package io.sparkmoe.spark.cli;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.Presets;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.io.Store;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.train.RunConfig;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "inspect",
    description =
        "Show a preset's, config's or checkpoint's parameters, memory, bytes on the wire and"
            + " manifest.")
final class InspectCommand implements Callable<Integer> {

  /**
   * Executors of a configuration's footprint unless the command line says: the default cluster's.
   */
  private static final int DEFAULT_EXECUTORS = 2;

  private final PrintStream out;

  @Mixin private CommonOptions common;
  @Mixin private ConfigOptions config;

  @Parameters(
      paramLabel = "PATH|PRESET",
      description =
          "A preset, a YAML file, a config.json, a checkpoint's folder, or a run's for its"
              + " newest checkpoint.")
  private String subject;

  @Option(names = "--verify", description = "Compare every checksum of a checkpoint.")
  private boolean verify;

  @Option(
      names = "--executors",
      paramLabel = "P",
      defaultValue = "0",
      description =
          "Executors that memory and bytes are shown for; 0 = as the checkpoint's, else 2.")
  private int executors;

  @Option(
      names = "--batch",
      paramLabel = "B",
      description = "Sequences of a step that memory is shown for; the config's unless given.")
  private Integer batch;

  @Option(
      names = "--seq",
      paramLabel = "S",
      description = "Tokens of a sequence; the config's unless given.")
  private Integer seq;

  @Option(
      names = "--precision",
      paramLabel = "fp32|fp8",
      description = "Precision; the config's unless given.")
  private String precision;

  @Option(names = "--json", description = "One JSON object instead of text.")
  private boolean json;

  InspectCommand(PrintStream out) {
    this.out = out;
  }

  @Override
  public Integer call() throws IOException {
    Arguments.atLeast(0, executors, "--executors");
    Inspection inspection = inspection();
    out.println(json ? inspection.toJson().toString() : inspection.toText().stripTrailing());
    return Main.DONE;
  }

  private Inspection inspection() throws IOException {
    if (Presets.exists(subject)) {
      return ofConfig("preset " + subject);
    }
    return ConfigOptions.isFile(subject) ? ofConfig("config " + subject) : ofFolder();
  }

  private Inspection ofFolder() throws IOException {
    try (Store store = HadoopStore.open(subject, HadoopSettings.current())) {
      if (CheckpointReader.isCommitted(store, "")) {
        return ofCheckpoint(store, "");
      }
      List<Integer> steps = new CheckpointStore(store).committedSteps();
      if (!steps.isEmpty()) {
        return ofCheckpoint(store, CheckpointStore.folder(steps.get(steps.size() - 1)));
      }
      if (!store.list("").isEmpty()) {
        throw new IllegalArgumentException(
            "nothing to inspect: "
                + store.location()
                + " holds neither manifest.json nor checkpoints, expected a"
                + " checkpoint's or a run's folder; name one of those");
      }
    }
    return ofConfig("config " + subject);
  }

  private Inspection ofCheckpoint(Store store, String folder) throws IOException {
    if (batch != null || seq != null || precision != null || !config.assignments().isEmpty()) {
      throw new IllegalArgumentException(
          "--set, --batch, --seq and --precision go with a config: got a checkpoint, which has its"
              + " own, expected a preset or file; leave them out");
    }
    try (CheckpointReader reader = CheckpointReader.open(store, folder)) {
      return Inspection.of(reader, executors, verify);
    }
  }

  private Inspection ofConfig(String source) throws IOException {
    ConfigResolver resolver = config.resolver(subject);
    if (verify) {
      throw new IllegalArgumentException(
          "--verify goes with a checkpoint: got "
              + source
              + ", which has no checksums, expected the folder of a checkpoint or run; leave it out"
              + " or name one");
    }
    ConfigOptions.override(resolver, "train.batch_sequences", batch, "--batch");
    ConfigOptions.override(resolver, "train.seq_len", seq, "--seq");
    ConfigOptions.override(resolver, "train.precision", precision, "--precision");
    ResolvedConfig resolved = resolver.resolve();
    if (!json) {
      resolved.notes().forEach(note -> out.println("note: " + note));
    }
    RunConfig run = resolved.toRunConfig();
    return new Inspection(source, run, executors == 0 ? DEFAULT_EXECUTORS : executors, null, false);
  }
}
