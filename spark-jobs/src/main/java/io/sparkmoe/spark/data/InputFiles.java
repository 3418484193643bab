package io.sparkmoe.spark.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;

/**
 * The files behind {@code --input}: folders walked, patterns expanded, in the order of their paths.
 */
final class InputFiles {

  private final List<Path> paths;
  private final long totalBytes;

  private InputFiles(List<Path> paths, long totalBytes) {
    this.paths = paths;
    this.totalBytes = totalBytes;
  }

  /**
   * Lists the files.
   *
   * @param inputs files, folders or patterns; files whose names begin with "_" or "." are left out
   *     of folders, as Spark does
   * @throws BadInputException when an input does not exist or nothing is in any
   */
  static InputFiles list(List<String> inputs, Configuration configuration) throws IOException {
    TreeMap<String, FileStatus> files = new TreeMap<>();
    for (String input : inputs) {
      Path path = new Path(input);
      FileSystem fileSystem = path.getFileSystem(configuration);
      FileStatus[] matches =
          fileSystem.exists(path)
              ? new FileStatus[] {fileSystem.getFileStatus(path)}
              : fileSystem.globStatus(path);
      if (matches == null || matches.length == 0) {
        throw new BadInputException(
            "input "
                + input
                + " does not exist, expected a file, folder or pattern; check the path");
      }
      for (FileStatus match : matches) {
        addFiles(fileSystem, match, files);
      }
    }
    if (files.size() >= SortKey.MAX_GROUPS) {
      throw new BadInputException(
          "input holds "
              + files.size()
              + " files, at most "
              + SortKey.MAX_GROUPS
              + "; join them first");
    }
    long totalBytes = files.values().stream().mapToLong(FileStatus::getLen).sum();
    if (totalBytes == 0) {
      throw new BadInputException(
          "input " + String.join(", ", inputs) + " is empty, expected files with text");
    }
    return new InputFiles(files.values().stream().map(FileStatus::getPath).toList(), totalBytes);
  }

  private static void addFiles(
      FileSystem fileSystem, FileStatus input, TreeMap<String, FileStatus> files)
      throws IOException {
    if (input.isFile()) {
      files.put(input.getPath().toString(), input);
      return;
    }
    String folder = input.getPath().toString();
    RemoteIterator<LocatedFileStatus> walk = fileSystem.listFiles(input.getPath(), true);
    while (walk.hasNext()) {
      LocatedFileStatus file = walk.next();
      String below = file.getPath().toString().substring(folder.length());
      if (!below.contains("/_") && !below.contains("/.")) {
        files.put(file.getPath().toString(), file);
      }
    }
  }

  /** In ascending order; a file's index here is its group in {@link SortKey}. */
  List<Path> paths() {
    return paths;
  }

  List<String> names() {
    List<String> names = new ArrayList<>();
    paths.forEach(path -> names.add(path.toString()));
    return names;
  }

  /** Names for Hadoop and Spark, which take what they are given for patterns: each finds itself. */
  String[] patterns() {
    return paths.stream().map(path -> pattern(path.toString())).toArray(String[]::new);
  }

  /** The pattern that only this name fits. */
  static String pattern(String name) {
    return name.replaceAll("[\\\\*?{}\\[\\]]", "\\\\$0");
  }

  long totalBytes() {
    return totalBytes;
  }
}
