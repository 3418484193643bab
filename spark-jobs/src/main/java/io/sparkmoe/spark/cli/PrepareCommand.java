package io.sparkmoe.spark.cli;

import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.job.PrepareOptions;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "prepare", description = "Turn documents into a dataset of token rows.")
final class PrepareCommand implements Callable<Integer> {

  private static final String ANY_LANGUAGE = "all";

  private final Jobs jobs;

  @Mixin private CommonOptions common;

  @Option(
      names = "--input",
      required = true,
      arity = "1..*",
      paramLabel = "PATH",
      description = "Files, folders or patterns of documents.")
  private List<String> inputs;

  @Option(
      names = "--format",
      paramLabel = "text|paragraphs|jsonl|parquet",
      description =
          "How documents lie in them: text and jsonl have one a line, paragraphs are text with an"
              + " empty line after each (default: what the names end in; a text file's are its"
              + " lines).")
  private DocumentFormat format;

  @Option(
      names = "--text-column",
      paramLabel = "NAME",
      defaultValue = PrepareOptions.DEFAULT_TEXT_COLUMN,
      description = "Column of the text in JSONL and Parquet (default: ${DEFAULT-VALUE}).")
  private String textColumn;

  @Option(
      names = "--tokenizer",
      required = true,
      paramLabel = "byte|bpe:SIZE|FILE",
      description = "Bytes, a BPE of so many ids trained on the input, or a tokenizer.json.")
  private String tokenizer;

  @Option(
      names = "--seq-len",
      required = true,
      paramLabel = "N",
      description = "Tokens of a sequence; a row has one more.")
  private int seqLen;

  @Option(
      names = "--validation",
      paramLabel = "FRACTION",
      defaultValue = "" + PrepareOptions.DEFAULT_VALIDATION,
      description =
          "Fraction of the documents to hold out, 0 to 0.5; 0 = none. Held out is every"
              + " round(1/FRACTION)-th document: 0.02 is every 50th, 0.4 every third (default:"
              + " ${DEFAULT-VALUE}).")
  private double validation;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Folder to write: absent, empty, or what an interrupted prepare left.")
  private String out;

  @ArgGroup private Source source;

  /** Where the source of a document comes from; without either, all have the same. */
  private static final class Source {
    @Option(
        names = "--source-column",
        paramLabel = "NAME",
        description = "Column that names a document's source.")
    private String column;

    @Option(
        names = "--source-languages",
        paramLabel = "all|CODE,...",
        split = ",",
        description = "Take the detected language as source, of these ISO 639-1 codes or of all.")
    private List<String> languages;
  }

  PrepareCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.prepare(
        new PrepareOptions(
            inputs, format, textColumn, sourceRule(), tokenizer, seqLen, validation, out));
    return Main.DONE;
  }

  private SourceRule sourceRule() {
    if (source == null) {
      return SourceRule.single();
    }
    if (source.column != null) {
      return SourceRule.column(source.column);
    }
    boolean any = source.languages.equals(List.of(ANY_LANGUAGE));
    return SourceRule.language(any ? List.of() : source.languages);
  }
}
