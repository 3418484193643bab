package io.sparkmoe.spark.cli;

import java.io.PrintStream;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * Entry of the application jar: {@code spark-submit --class io.sparkmoe.spark.cli.Main moe.jar
 * COMMAND ...}.
 */
@Command(
    name = "moe",
    description = "Trains DeepSeek-V3-style mixture-of-experts language models on Apache Spark.",
    synopsisSubcommandLabel = "COMMAND",
    footer = {
      "",
      "Every command takes --help. Spark's options pass through: --master, --conf,"
          + " --properties-file, --num-executors,",
      "--executor-cores, --executor-memory, --driver-memory."
    })
public final class Main implements Runnable {

  static final int DONE = 0;

  /** Commands of the interface that later versions will have. */
  private static final List<String> PLANNED =
      List.of("sft", "rl", "r1", "plan", "convert", "serve");

  @Mixin private CommonOptions common;
  @Spec private CommandSpec spec;

  /** Runs a command and exits with its status. */
  public static void main(String[] args) {
    int status;
    try (SignalReport signal = new SignalReport(System.err, isDebug(args))) {
      status = run(args, new SparkJobs(System.in, System.out, System.err), System.out, System.err);
    }
    // Returning is how an application on YARN says that it succeeded; leaving by exit would count
    // as a failure there.
    if (status != DONE) {
      System.exit(status);
    }
  }

  /** Runs a command and returns its exit status. */
  static int run(String[] args, Jobs jobs, PrintStream out, PrintStream err) {
    boolean debug = isDebug(args);
    CommandLine commandLine = commandLine(jobs, out);
    commandLine.setOut(new PrintWriter(out, true));
    commandLine.setErr(new PrintWriter(err, true));
    commandLine.setParameterExceptionHandler(
        (failure, arguments) -> report(FailureSentence.ofUsage(failure), failure, debug, err));
    commandLine.setExecutionExceptionHandler(
        (failure, command, result) ->
            report(FailureSentence.ofRun(command.getCommandName(), failure), failure, debug, err));
    try {
      return commandLine.execute(args);
    } catch (Error e) { // picocli hands over exceptions only
      return report(FailureSentence.ofRun(args[0], e), e, debug, err);
    }
  }

  private static boolean isDebug(String[] args) {
    return Arrays.asList(args).contains(CommonOptions.DEBUG);
  }

  static CommandLine commandLine(Jobs jobs, PrintStream out) {
    CommandLine commandLine =
        new CommandLine(new Main())
            .addSubcommand(new QuickstartCommand(jobs))
            .addSubcommand(new PrepareCommand(jobs))
            .addSubcommand(new TrainCommand(jobs))
            .addSubcommand(new DistillCommand(jobs))
            .addSubcommand(new EvaluateCommand(jobs))
            .addSubcommand(new GenerateCommand(jobs))
            .addSubcommand(new ChatCommand(jobs))
            .addSubcommand(new TeachCommand(jobs))
            .addSubcommand(new InspectCommand(out))
            .addSubcommand(
                new CommandLine(new BenchCommand())
                    .addSubcommand(new BenchTrainCommand(jobs))
                    .addSubcommand(new BenchDistillCommand(jobs))
                    .addSubcommand(new BenchGradientsCommand(jobs))
                    .addSubcommand(new BenchGenerateCommand(jobs))
                    .addSubcommand(new BenchSpeculativeCommand(jobs)));
    for (String name : PLANNED) {
      commandLine.addSubcommand(name, new PlannedCommand());
    }
    return commandLine.setCaseInsensitiveEnumValuesAllowed(true);
  }

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(),
        "missing command: got none, expected one such as quickstart; see moe --help");
  }

  private static int report(
      FailureSentence sentence, Throwable failure, boolean debug, PrintStream err) {
    if (debug) {
      failure.printStackTrace(err);
    }
    // Ctrl-C reaches the executors too; that they are lost then is no failure of theirs.
    if (!SignalReport.isStopping()) {
      err.println(sentence.text());
    }
    return sentence.status();
  }
}
