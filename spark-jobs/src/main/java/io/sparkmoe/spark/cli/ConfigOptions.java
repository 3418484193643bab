package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.Presets;
import io.sparkmoe.io.Store;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.HadoopStore;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import picocli.CommandLine.Option;

/** Assignments of single keys, and the merging of all sources of a configuration. */
final class ConfigOptions {

  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description = "Set a configuration key, such as train.lr=0.001; may be repeated.")
  private List<String> assignments = new ArrayList<>();

  /**
   * Merges preset or file, Spark's settings and the assignments.
   *
   * @param config a preset's name or a YAML file's path
   */
  ConfigResolver resolver(String config) throws IOException {
    ConfigResolver resolver = new ConfigResolver();
    if (Presets.exists(config)) {
      resolver.preset(config);
    } else {
      resolver.file(config, read(config));
    }
    return resolver.conf(sparkSettings()).set(assignments);
  }

  /** The assignments as they were typed. */
  List<String> assignments() {
    return List.copyOf(assignments);
  }

  /** Sets a key from an option of its own, where that was given. */
  static void override(ConfigResolver resolver, String key, Object value, String option) {
    if (value != null) {
      resolver.option(key, value, option);
    }
  }

  /** Whether a path on any file system that Hadoop knows is a file, and no folder. */
  static boolean isFile(String location) throws IOException {
    Path path = new Path(location);
    FileSystem files = path.getFileSystem(HadoopSettings.current());
    return files.exists(path) && files.getFileStatus(path).isFile();
  }

  /** A config file on any file system that Hadoop knows. */
  static String read(String location) throws IOException {
    return readText(
        location,
        "config",
        "a YAML file or one of the presets " + String.join(", ", Presets.names()));
  }

  /**
   * A small text file on any file system that Hadoop knows.
   *
   * @param what the file is, in the sentence that says it is missing
   * @param expected what could be there instead
   */
  static String readText(String location, String what, String expected) throws IOException {
    if (location.isBlank()) {
      throw unreadable("no such " + what, "an empty name", expected);
    }
    Configuration hadoop = HadoopSettings.current();
    Path path = new Path(location);
    FileSystem files = path.getFileSystem(hadoop);
    if (!files.exists(path)) {
      throw unreadable("no such " + what, location, expected);
    }
    if (files.getFileStatus(path).isDirectory()) {
      throw unreadable("no file", "the folder " + location, expected);
    }
    String parent = path.getParent() == null ? "." : path.getParent().toString();
    try (Store folder = HadoopStore.open(parent.isEmpty() ? "." : parent, hadoop)) {
      return folder.readText(path.getName());
    }
  }

  private static IllegalArgumentException unreadable(String what, String got, String expected) {
    return new IllegalArgumentException(
        what + ": got " + got + ", expected " + expected + "; correct the name");
  }

  /** spark-submit hands its settings to the driver as system properties. */
  private static Map<String, String> sparkSettings() {
    return System.getProperties().stringPropertyNames().stream()
        .filter(name -> name.startsWith(ConfigResolver.CONF_PREFIX))
        .collect(Collectors.toMap(name -> name, System::getProperty));
  }
}
