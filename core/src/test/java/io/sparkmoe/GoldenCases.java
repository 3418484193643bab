package io.sparkmoe;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * Folders of reference results: those under the test resources (see ORIGIN.md there), or those
 * under the folder that {@code -Dgolden.dir} names.
 */
public final class GoldenCases {

  private GoldenCases() {}

  /** Folders that contain all of the files, sorted. */
  public static List<Path> with(String... files) {
    Path root = root();
    try (Stream<Path> folders = Files.walk(root)) {
      return folders
          .filter(folder -> Stream.of(files).allMatch(file -> Files.exists(folder.resolve(file))))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Path root() {
    String given = System.getProperty("golden.dir");
    if (given == null) {
      try {
        return Path.of(GoldenCases.class.getResource("/golden").toURI());
      } catch (URISyntaxException e) {
        throw new IllegalStateException(e);
      }
    }
    // Maven runs tests in the module's folder, the command was typed in the one above.
    for (Path folder : List.of(Path.of(given), Path.of("..").resolve(given))) {
      if (Files.isDirectory(folder)) {
        return folder;
      }
    }
    throw new IllegalArgumentException(
        "golden.dir must be a folder of golden cases, got " + Path.of(given).toAbsolutePath());
  }
}
