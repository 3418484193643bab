package io.sparkmoe.spark.data;

import java.io.IOException;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;

/** How documents lie in input files. */
public enum DocumentFormat {
  /** UTF-8 text, one document a line. */
  TEXT("\n"),
  /** UTF-8 text, an empty line after every document; line ends are {@code \n}. */
  PARAGRAPHS("\n\n"),
  /** One JSON object a line. */
  JSONL("\n"),
  /** One row a document. */
  PARQUET(null);

  /** Endings of compressed files, which hide the ending that says the format. */
  private static final String COMPRESSED = "\\.(gz|bz2|zst|lz4|snappy|deflate)$";

  private final String delimiter;

  DocumentFormat(String delimiter) {
    this.delimiter = delimiter;
  }

  /** Whether documents have named columns. */
  public boolean hasColumns() {
    return this == JSONL || this == PARQUET;
  }

  /** What stands between two documents of a file, null where its bytes do not say. */
  String delimiter() {
    return delimiter;
  }

  /**
   * What the names of files say: .jsonl, .ndjson or .json, .parquet, else text.
   *
   * @param inputs files, folders or patterns
   * @throws BadInputException when there is no such input, or its files say different things
   */
  public static DocumentFormat of(List<String> inputs, Configuration configuration)
      throws IOException {
    List<String> names = InputFiles.list(inputs, configuration).names();
    DocumentFormat first = of(names.get(0));
    for (String name : names) {
      if (of(name) != first) {
        throw new BadInputException(
            "input has files of several formats: "
                + names.get(0)
                + " and "
                + name
                + ", expected one; give files of one format, or name it with --format");
      }
    }
    return first;
  }

  private static DocumentFormat of(String name) {
    String plain = name.toLowerCase(Locale.ROOT).replaceFirst(COMPRESSED, "");
    if (plain.endsWith(".jsonl") || plain.endsWith(".ndjson") || plain.endsWith(".json")) {
      return JSONL;
    }
    return plain.endsWith(".parquet") ? PARQUET : TEXT;
  }
}
