package io.sparkmoe.spark.cli;

import io.sparkmoe.config.NearestName;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.FormatTooNewException;
import io.sparkmoe.io.InsufficientSpaceException;
import java.io.FileNotFoundException;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * A failure as a person meets it: {@code moe: <what failed>: <actual>, <expected>; <next step>},
 * and the exit status.
 *
 * @param text the sentence, one line
 * @param status 1 when the run failed, 2 when usage, config or input was wrong
 */
record FailureSentence(String text, int status) {

  private static final int RUN_FAILED = 1;
  private static final int WRONG_INPUT = 2;

  private static final List<Class<? extends Exception>> INPUT_FAILURES =
      List.of(
          IllegalArgumentException.class,
          CorruptFileException.class,
          FormatTooNewException.class,
          InsufficientSpaceException.class,
          FileNotFoundException.class,
          NoSuchFileException.class);

  /** Of a command line that does not parse. */
  static FailureSentence ofUsage(ParameterException failure) {
    CommandLine command = failure.getCommandLine();
    String name = command.getCommandSpec().qualifiedName();
    String sentence;
    if (failure instanceof UnmatchedArgumentException unmatched
        && !unmatched.getUnmatched().isEmpty()) {
      sentence = unknown(command, unmatched.getUnmatched().get(0));
    } else if (failure instanceof MissingParameterException missing
        && !missing.getMissing().isEmpty()) {
      sentence =
          "missing options: got none of these names, expected "
              + missing.getMissing().stream()
                  .map(FailureSentence::describe)
                  .collect(Collectors.joining(", "));
    } else {
      sentence = firstLine(failure.getMessage());
      sentence = sentence.contains("; ") ? sentence : "wrong usage: " + sentence;
    }
    boolean complete = sentence.contains("; ");
    return new FailureSentence(
        "moe: " + sentence + (complete ? "" : "; see " + name + " --help"), WRONG_INPUT);
  }

  /** Of a command that threw. */
  static FailureSentence ofRun(String command, Throwable failure) {
    Throwable cause = failure;
    while ((cause instanceof UncheckedIOException || cause instanceof ExecutionException)
        && cause.getCause() != null) {
      cause = cause.getCause();
    }
    Throwable known = cause;
    int status =
        INPUT_FAILURES.stream().anyMatch(type -> type.isInstance(known)) ? WRONG_INPUT : RUN_FAILED;
    String message = cause.getMessage() == null ? "" : firstLine(cause.getMessage());
    if (message.isBlank()
        || cause instanceof Error
        || cause instanceof NullPointerException
        || cause instanceof IndexOutOfBoundsException) {
      message =
          command
              + " failed: got "
              + cause.getClass().getSimpleName()
              + (message.isBlank() ? "" : " (" + message + ")")
              + ", expected no error";
    } else if (!message.contains(": ")) {
      message = command + " failed: " + message;
    }
    if (!message.contains("; ")) {
      message += origin(cause, message) + "; " + nextStep(cause, status);
    }
    return new FailureSentence("moe: " + message, status);
  }

  /**
   * What started a failure that tells only what it led to, such as a scheduler that is not there.
   */
  private static String origin(Throwable failure, String told) {
    Throwable origin = failure;
    while (origin.getCause() != null) {
      origin = origin.getCause();
    }
    String line = firstLine(origin.toString());
    boolean isNew =
        origin != failure && !told.contains(firstLine(String.valueOf(origin.getMessage())));
    return isNew ? ", because of " + line : "";
  }

  private static String nextStep(Throwable cause, int status) {
    if (cause instanceof FileNotFoundException || cause instanceof NoSuchFileException) {
      return "correct the path";
    }
    return status == WRONG_INPUT
        ? "correct it and run again"
        : "run it again with " + CommonOptions.DEBUG + " for details";
  }

  private static String unknown(CommandLine command, String typed) {
    if (typed.startsWith("-")) {
      List<String> options =
          command.getCommandSpec().options().stream().map(OptionSpec::longestName).toList();
      return "unknown option: got "
          + typed
          + ", expected "
          + NearestName.of(typed.split("=")[0], options);
    }
    if (command.getSubcommands().isEmpty()) {
      return "too many arguments: got " + typed + ", expected none like it";
    }
    return "unknown command: got "
        + typed
        + ", expected "
        + NearestName.of(typed, command.getSubcommands().keySet());
  }

  private static String describe(ArgSpec argument) {
    return argument instanceof OptionSpec option
        ? option.longestName() + "=" + option.paramLabel()
        : argument.paramLabel();
  }

  private static String firstLine(String text) {
    return Stream.of(text.split("\\R"))
        .map(String::strip)
        .filter(line -> !line.isEmpty())
        .findFirst()
        .orElse("");
  }
}
