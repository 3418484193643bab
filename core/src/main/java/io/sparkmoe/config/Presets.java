package io.sparkmoe.config;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** The configurations that come with the program, as YAML. */
public final class Presets {

  private static final List<String> NAMES =
      List.of(
          "quickstart",
          "bench-small",
          "dense-small",
          "tiny",
          "deepseek-v3",
          "char-teacher",
          "char-student");

  private Presets() {}

  /** Names in the order in which they are listed. */
  public static List<String> names() {
    return NAMES;
  }

  /** Whether a preset has that name. */
  public static boolean exists(String name) {
    return NAMES.contains(name);
  }

  /** A preset's YAML. */
  static String text(String name) {
    try (InputStream in = Presets.class.getResourceAsStream("presets/" + name + ".yaml")) {
      if (in == null) {
        throw new IllegalArgumentException(
            "unknown preset: got "
                + name
                + ", expected one of "
                + String.join(", ", NAMES)
                + "; correct the name");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
