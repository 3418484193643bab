package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.spark.job.StudyOptions;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "distill",
    description =
        "Measure what distillation is worth: a teacher and students of several losses on a text.")
final class BenchDistillCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private ConfigOptions config;

  @Option(
      names = "--text",
      required = true,
      paramLabel = "FILE",
      description = "Text; its last tenth is held out.")
  private String text;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "New folder for the teacher, its rows and the table.")
  private String out;

  @Option(
      names = "--teacher",
      paramLabel = "FILE|PRESET",
      defaultValue = "char-teacher",
      description = "Configuration of the teacher (default: ${DEFAULT-VALUE}).")
  private String teacher;

  @Option(
      names = "--student",
      paramLabel = "FILE|PRESET",
      defaultValue = "char-student",
      description = "Configuration of the students; --set changes it (default: ${DEFAULT-VALUE}).")
  private String student;

  @Option(
      names = "--teacher-steps",
      paramLabel = "N",
      description = "Optimizer steps of the teacher; its config's unless given.")
  private Integer teacherSteps;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Optimizer steps of every student; their config's unless given.")
  private Integer steps;

  @Option(
      names = "--seeds",
      paramLabel = "N",
      defaultValue = "9",
      description =
          "Students of each loss; three differ from each other by more than two losses do"
              + " (default: ${DEFAULT-VALUE}).")
  private int seeds;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "8",
      description = "Tokens that the teacher stores for a position (default: ${DEFAULT-VALUE}).")
  private int topK;

  @Option(
      names = "--threads",
      paramLabel = "T",
      defaultValue = "0",
      description = "Threads, each of them training a student; 0 = one for each core (default).")
  private int threads;

  BenchDistillCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    ConfigResolver ofTeacher = new ConfigOptions().resolver(teacher);
    if (teacherSteps != null) {
      ofTeacher.option("train.steps", teacherSteps, "--teacher-steps");
    }
    student(1);
    jobs.benchDistill(
        new StudyOptions(
            text,
            out,
            ofTeacher.resolve(),
            this::student,
            Arguments.atLeast(1, seeds, "--seeds"),
            Arguments.atLeast(1, topK, "--top-k"),
            Arguments.atLeast(0, threads, "--threads")));
    return Main.DONE;
  }

  private ResolvedConfig student(int seed) {
    try {
      ConfigResolver resolver = config.resolver(student);
      if (steps != null) {
        resolver.option("train.steps", steps, "--steps");
      }
      return resolver.option("train.seed", seed, "--seeds").resolve();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
