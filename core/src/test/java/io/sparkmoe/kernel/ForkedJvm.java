package io.sparkmoe.kernel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A JVM of other flags than the tests' own, for what a flag decides once and for all. */
final class ForkedJvm {

  private static final int DEADLINE_SECONDS = 600;

  private ForkedJvm() {}

  /**
   * How it ended.
   *
   * @param status its exit status
   * @param output what it printed on both streams
   */
  record Result(int status, String output) {}

  /** Runs {@code main} on this JVM's class path, natives cache and temporary folder. */
  static Result run(List<String> flags, Class<?> main, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(flags);
    for (String inherited :
        List.of("java.io.tmpdir", "moe.poison", "moe.seed", "org.bytedeco.javacpp.cachedir")) {
      if (System.getProperty(inherited) != null) {
        command.add("-D" + inherited + "=" + System.getProperty(inherited));
      }
    }
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
    command.addAll(List.of(arguments));
    // To a file, so that a JVM that hangs with its output open meets the deadline too.
    Path output = Files.createTempFile("forked-jvm", ".out");
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(output.toFile())
              .start();
      if (!process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new AssertionError(
            "still running after " + DEADLINE_SECONDS + " s: " + Files.readString(output));
      }
      return new Result(process.exitValue(), Files.readString(output));
    } finally {
      Files.delete(output);
    }
  }
}
