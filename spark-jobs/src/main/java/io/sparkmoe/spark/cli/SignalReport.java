package io.sparkmoe.spark.cli;

import java.io.PrintStream;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * Says in one sentence that a signal ended the command, from the moment it is made until it is
 * closed. The command's thread need not live to say so.
 */
final class SignalReport implements AutoCloseable {

  private static final String INTERRUPTED =
      "moe: interrupted: got Ctrl-C or another signal, expected to reach the end; run the same"
          + " command again";

  private final Thread hook;

  /**
   * @param debug whether what Spark logs while it is torn down is worth reading
   */
  SignalReport(PrintStream err, boolean debug) {
    hook =
        new Thread(
            () -> {
              if (!debug) {
                // Every part of Spark that loses another one says so; nothing of it is a failure.
                Configurator.setAllLevels("", Level.OFF);
              }
              err.println(INTERRUPTED);
            },
            "moe interrupted");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Whether this JVM is on its way out, told by its refusal of one more hook. */
  static boolean isStopping() {
    Thread probe = new Thread(() -> {});
    try {
      Runtime.getRuntime().addShutdownHook(probe);
      Runtime.getRuntime().removeShutdownHook(probe);
      return false;
    } catch (IllegalStateException e) {
      return true;
    }
  }

  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      return; // a signal came first, and the hook tells of it
    }
  }
}
