package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.spark.data.BadInputException;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.LocalSpark;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.data.TokenDataset;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class PrepareJobTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  private static final int SEQ_LEN = 32;

  @TempDir Path folder;

  /** Documents whose source alternates, long enough for several rows of each. */
  private static List<String> documents() {
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 61; i++) {
      documents.add(
          "document "
              + i
              + " says ελληνικά, “quotes” and 😀 "
              + "again and ".repeat(i % 7)
              + "ends");
    }
    return documents;
  }

  private static String source(int document) {
    return document % 3 == 0 ? "threes" : "others";
  }

  @Test
  void rowsHoldTheDocumentsInOrderAndEveryFiftiethIsHeldOut() throws IOException {
    Path input = text("text.txt", documents());
    DatasetInfo info = run(options(input).withTokenizer("bpe:300"));
    assertThat(info.train().documents()).isEqualTo(59);
    assertThat(info.validation().documents()).isEqualTo(2);
    assertThat(info.vocabSize()).isEqualTo(300);
    TokenDataset dataset = open();
    assertThat(dataset.info()).isEqualTo(info);
    try (Tokenizer tokenizer = dataset.openTokenizer()) {
      List<String> held = List.of(documents().get(0), documents().get(50));
      List<String> trained = new ArrayList<>(documents());
      trained.removeAll(held);
      assertThat(texts(dataset.readLocally(TokenDataset.TRAIN), tokenizer)).isEqualTo(trained);
      assertThat(texts(dataset.readLocally(TokenDataset.VALIDATION), tokenizer)).isEqualTo(held);
      long bytes =
          trained.stream().mapToLong(d -> d.getBytes(StandardCharsets.UTF_8).length + 1).sum();
      long tokens = trained.stream().mapToLong(d -> tokenizer.encode(d).length + 1).sum();
      assertThat(info.train().bytes()).isEqualTo(bytes);
      assertThat(info.train().tokens()).isEqualTo(tokens);
      assertThat(info.train().bytesPerToken()).isEqualTo((double) bytes / tokens);
    }
  }

  @Test
  void rowsDoNotDependOnFilesFormatOrCompression() throws IOException {
    List<String> documents = documents();
    SourceRule bySource = SourceRule.column("kind");
    run(
        options(jsonl("one.jsonl", documents, 0))
            .withFormat(DocumentFormat.JSONL)
            .withSource(bySource));
    List<String> expected = dump();
    assertThat(expected)
        .anyMatch(row -> row.contains("threes"))
        .anyMatch(row -> row.contains("others"));

    Path many = Files.createDirectory(folder.resolve("many"));
    // More files than the partitions that one file is sorted into.
    for (int part = 0; part < 9; part++) {
      int begin = 7 * part;
      int end = Math.min(documents.size(), begin + 7);
      Path file = jsonl("many/part-" + part + ".jsonl", documents.subList(begin, end), begin);
      if (part % 2 == 1) {
        gzip(file);
      }
    }
    run(options(many).withFormat(null).withSource(bySource));
    assertThat(dump()).isEqualTo(expected);

    Path parquet = folder.resolve("parquet");
    List<Row> table = new ArrayList<>();
    for (int i = 0; i < documents.size(); i++) {
      table.add(RowFactory.create(source(i), documents.get(i)));
    }
    StructType schema =
        new StructType().add("kind", DataTypes.StringType).add("body", DataTypes.StringType);
    SPARK.session().createDataFrame(table, schema).coalesce(1).write().parquet(parquet.toString());
    run(options(parquet).withFormat(null).withTextColumn("body").withSource(bySource));
    assertThat(dump()).isEqualTo(expected);

    Files.writeString(many.resolve("notes.txt"), "one more file");
    assertThatThrownBy(() -> run(options(many).withFormat(null)))
        .isInstanceOf(BadInputException.class)
        .hasMessageContainingAll("several formats", "part-0.jsonl", "notes.txt", "--format");
  }

  @Test
  void paragraphsEndAtEmptyLinesWhereverAFileIsSplit() throws IOException {
    Random random = new Random(3);
    List<String> documents = new ArrayList<>();
    StringBuilder text = new StringBuilder("\n\n\n");
    while (text.length() < 3 << 20) { // three splits at least
      String document =
          "first line " + documents.size() + "\n" + " second ".repeat(1 + random.nextInt(9));
      documents.add(document + "\nlast");
      text.append(document).append("\nlast").append("\n".repeat(2 + random.nextInt(4)));
    }
    Path input = Files.writeString(folder.resolve("paragraphs.txt"), text);
    run(options(input).withFormat(DocumentFormat.PARAGRAPHS).withValidation(0));
    TokenDataset dataset = open();
    try (Tokenizer tokenizer = dataset.openTokenizer()) {
      assertThat(texts(dataset.readLocally(TokenDataset.TRAIN), tokenizer)).isEqualTo(documents);
    }
  }

  @Test
  void aRowHoldsOneSourceOnly() throws IOException {
    List<String> german =
        List.of("Alle Menschen sind frei und gleich an Würde und Rechten geboren.");
    List<String> french =
        List.of("Tous les êtres humains naissent libres et égaux en dignité et en droits.");
    List<String> mixed = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      mixed.addAll(german);
      mixed.addAll(french);
    }
    run(
        options(text("mixed.txt", mixed))
            .withSource(SourceRule.language(List.of("de", "fr", "en")))
            .withValidation(0));
    for (TokenRow row : open().readLocally(TokenDataset.TRAIN)) {
      String text = new String(bytes(row), StandardCharsets.UTF_8);
      assertThat(row.source())
          .isEqualTo(text.matches("(?s).*(Alle|sind|frei|gleich|Rechten|eboren).*") ? "de" : "fr");
    }
    assertThat(open().readLocally(TokenDataset.VALIDATION)).isEmpty();
  }

  @Test
  void badInputIsRefusedInOneSentenceAndNothingIsWritten() throws IOException {
    Path good = text("good.txt", documents());
    refused(options(folder.resolve("absent.txt")), "absent.txt does not exist");
    refused(options(text("empty.txt", List.of())), "is empty");
    refused(options(text("blank.txt", List.of("", "  ", "\t"))), "holds no text");
    refused(
        options(bytes("binary.bin", new byte[] {'a', '\n', 'b', 0, 'c'})),
        "binary.bin is binary: byte 3 is 0x00");
    refused(
        options(bytes("latin1.txt", new byte[] {'a', '\n', 'b', (byte) 0xE9, 'c'})),
        "is not UTF-8: byte 3 is 0xE9");
    refused(options(text("short.txt", List.of("a", "b", "c"))), "too short for one training row");
    refused(options(good).withTokenizer("bpe:12"), "SIZE in [257, ");
    refused(options(good).withTokenizer(folder.resolve("no.json").toString()), "is no such file");
    refused(options(good).withTokenizer(good.toString()), "good.txt: tokenizer is not JSON");
    refused(options(good).withFormat(DocumentFormat.JSONL), "line at byte 0 is not JSON");
    refused(options(good).withFormat(DocumentFormat.PARQUET), "good.txt is not a Parquet file");
    Path json = jsonl("good.jsonl", documents(), 0);
    refused(
        options(json).withFormat(DocumentFormat.JSONL).withTextColumn("content"),
        "line at byte 0 has no column \"content\", it has [kind, body]");
    refused(
        options(text("number.jsonl", List.of("{\"body\": 5}"))).withFormat(DocumentFormat.JSONL),
        "number.jsonl, line at byte 0: column \"body\" is a JSON number, expected a string");
    refused(
        options(text("two.jsonl", List.of("", "{\"body\": \"a\"} {\"body\": \"b\"}")))
            .withFormat(DocumentFormat.JSONL),
        "two.jsonl, line at byte 1 goes on after its JSON value, expected one value a line");
    refused(
        options(text("crlf.txt", List.of("a", "", "b\r", "\r", "c\r")))
            .withFormat(DocumentFormat.PARAGRAPHS),
        "crlf.txt, paragraph at byte 3 has an empty line that ends in \\r\\n, expected \\n");
  }

  @Test
  void namesThatLookLikePatternsAndByteOrderMarksChangeNothing() throws IOException {
    run(options(text("plain.txt", documents())));
    List<String> expected = dump();

    Path odd = Files.createDirectory(folder.resolve("odd{a,b}"));
    List<String> marked = documents();
    marked.set(0, "\uFEFF" + marked.get(0));
    Path text = text("odd{a,b}/te,xt[1]*?.txt", marked);
    run(options(text));
    assertThat(dump()).isEqualTo(expected);

    Files.delete(text);
    Path json = jsonl("odd{a,b}/js]on[,{2}.jsonl", documents(), 0);
    String lines = Files.readString(json);
    Files.writeString(json, "\uFEFF" + lines);
    run(options(json).withFormat(DocumentFormat.JSONL));
    assertThat(dump()).isEqualTo(expected);

    Files.delete(json);
    SPARK
        .session()
        .createDataset(documents(), Encoders.STRING())
        .toDF("body")
        .coalesce(1)
        .write()
        .parquet(odd.resolve("par{q}uet[3]").toString());
    run(options(odd).withFormat(DocumentFormat.PARQUET));
    assertThat(dump()).isEqualTo(expected);
  }

  @Test
  void optionsOutOfRangeAreRefused() {
    Path any = folder.resolve("any");
    assertThatThrownBy(() -> options(any).withSeqLen(1).build())
        .hasMessageContaining("--seq-len must be in [2, ");
    for (double fraction : new double[] {-0.1, 0.6, Double.NaN}) {
      assertThatThrownBy(() -> options(any).withValidation(fraction).build())
          .hasMessage("--validation must be a fraction in [0, 0.5], got " + fraction);
    }
    for (DocumentFormat format : List.of(DocumentFormat.TEXT, DocumentFormat.PARAGRAPHS)) {
      Options columns = options(any).withFormat(format).withSource(SourceRule.column("a"));
      assertThatThrownBy(columns::build)
          .hasMessageContaining("--source-column needs --format jsonl or parquet, got ");
    }
  }

  @Test
  void theShareThatIsHeldOutIsTold() {
    Options options = options(folder.resolve("any"));
    assertThat(PrepareJob.heldOut(options.withValidation(0.4).build()))
        .isEqualTo("1 of 3 documents is held out for validation, 33.3 % (--validation 0.4)");
    assertThat(PrepareJob.heldOut(options.withValidation(0.02).build()))
        .isEqualTo("1 of 50 documents is held out for validation, 2.0 % (--validation 0.02)");
    assertThat(PrepareJob.heldOut(options.withValidation(0).build()))
        .isEqualTo("no documents are held out for validation");
  }

  @Test
  void aFolderInUseIsRefusedAndKept() throws IOException {
    Path input = text("text.txt", documents());
    run(options(input));
    assertThatThrownBy(() -> job(options(input)).run())
        .hasMessageContaining("holds a dataset already");
    Files.delete(out().resolve("dataset.json"));
    assertThatThrownBy(() -> job(options(input)).run())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("is not empty")
        .hasMessageContaining("interrupted prepare");
    assertThat(out().resolve("tokenizer.json")).exists();
  }

  @Test
  void whatAnInterruptedPrepareLeftIsReplaced() throws IOException {
    Path input = text("text.txt", documents());
    run(options(input));
    List<String> expected = dump();
    interrupt();
    job(options(input).withTokenizer("bpe:300")).run();
    interrupt();
    job(options(input)).run();
    assertThat(dump()).isEqualTo(expected);
    assertThat(out().resolve("prepare.unfinished")).doesNotExist();
  }

  @Test
  void filesOfOthersBesideAnInterruptedPrepareAreRefusedAndKept() throws IOException {
    Path input = text("text.txt", documents());
    run(options(input));
    interrupt();
    for (String name : List.of("notes.txt", "train/notes.txt")) {
      Path foreign = Files.writeString(out().resolve(name), "mine");
      assertThatThrownBy(() -> job(options(input)).run())
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "--out "
                  + out()
                  + " holds "
                  + name
                  + " beside what an interrupted prepare left, expected nothing else; move it away"
                  + " or give another folder");
      assertThat(foreign).hasContent("mine");
      assertThat(out().resolve("tokenizer.json")).exists();
      Files.delete(foreign);
    }
  }

  @Test
  void badInputLeavesAnInterruptedPrepareAsItIs() throws IOException {
    run(options(text("text.txt", documents())));
    interrupt();
    Path blank = text("blank.txt", List.of("", " "));
    assertThatThrownBy(() -> job(options(blank)).run()).hasMessageContaining("holds no text");
    assertThat(out().resolve("tokenizer.json")).exists();
  }

  /** Leaves the folder as a prepare does that was killed while it wrote rows. */
  private void interrupt() throws IOException {
    Files.delete(out().resolve("dataset.json"));
    Files.writeString(out().resolve("prepare.unfinished"), "by an earlier run");
    Files.createDirectories(out().resolve("train/_temporary/0"));
    Files.writeString(out().resolve("train/_temporary/0/part-00000"), "half");
    delete(out().resolve("validation"));
  }

  private void refused(Options options, String message) {
    assertThatThrownBy(() -> job(options).run())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
    assertThat(out()).doesNotExist();
  }

  /** Texts of the documents, cut at end-of-text; shared tokens and padding left out. */
  private static List<String> texts(List<TokenRow> rows, Tokenizer tokenizer) {
    List<String> texts = new ArrayList<>();
    List<Integer> document = new ArrayList<>();
    for (TokenRow row : rows) {
      int first = row.rowId() == 0 ? 0 : 1;
      for (int i = first; i < row.numTokens(); i++) {
        if (row.tokens()[i] == tokenizer.endOfTextId()) {
          texts.add(tokenizer.decode(document.stream().mapToInt(Integer::intValue).toArray()));
          document.clear();
        } else {
          document.add(row.tokens()[i]);
        }
      }
    }
    assertThat(document).isEmpty();
    return texts;
  }

  private List<String> dump() throws IOException {
    List<String> dump = new ArrayList<>();
    for (String split : List.of(TokenDataset.TRAIN, TokenDataset.VALIDATION)) {
      for (TokenRow row : open().readLocally(split)) {
        dump.add(
            row.rowId()
                + " "
                + row.source()
                + " "
                + row.numTokens()
                + " "
                + Arrays.toString(row.tokens())
                + " "
                + Arrays.toString(row.docStarts()));
      }
    }
    dump.add(open().info().toJson());
    return dump;
  }

  private DatasetInfo run(Options options) throws IOException {
    delete(out());
    return job(options).run();
  }

  private PrepareJob job(Options options) {
    return new PrepareJob(SPARK.session(), options.build());
  }

  private TokenDataset open() throws IOException {
    return TokenDataset.open(out().toString(), new Configuration());
  }

  private Path out() {
    return folder.resolve("out");
  }

  private Options options(Path input) {
    return new Options(
        input,
        DocumentFormat.TEXT,
        "body",
        SourceRule.single(),
        "byte",
        SEQ_LEN,
        0.02,
        out().toString());
  }

  private Path text(String name, List<String> lines) throws IOException {
    return Files.write(folder.resolve(name), lines);
  }

  private Path bytes(String name, byte[] content) throws IOException {
    return Files.write(folder.resolve(name), content);
  }

  private Path jsonl(String name, List<String> documents, int firstOrdinal) throws IOException {
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < documents.size(); i++) {
      lines.add(
          "{\"kind\": \""
              + source(firstOrdinal + i)
              + "\", \"body\": \""
              + documents.get(i)
              + "\"}");
    }
    return Files.write(folder.resolve(name), lines);
  }

  private static void gzip(Path file) throws IOException {
    try (GZIPOutputStream out =
        new GZIPOutputStream(Files.newOutputStream(Path.of(file + ".gz")))) {
      Files.copy(file, out);
    }
    Files.delete(file);
  }

  private static byte[] bytes(TokenRow row) {
    byte[] bytes = new byte[row.numTokens()];
    int n = 0;
    for (int i = 0; i < row.numTokens(); i++) {
      if (row.tokens()[i] < 256) {
        bytes[n++] = (byte) row.tokens()[i];
      }
    }
    return Arrays.copyOf(bytes, n);
  }

  private static void delete(Path folder) throws IOException {
    if (Files.exists(folder)) {
      try (var walk = Files.walk(folder)) {
        for (Path path : walk.sorted(java.util.Comparator.reverseOrder()).toList()) {
          Files.delete(path);
        }
      }
    }
  }

  /** {@link PrepareOptions} one of which is changed at a time. */
  private record Options(
      Path input,
      DocumentFormat format,
      String textColumn,
      SourceRule source,
      String tokenizer,
      int seqLen,
      double validation,
      String out) {

    PrepareOptions build() {
      return new PrepareOptions(
          List.of(input.toString()),
          format,
          textColumn,
          source,
          tokenizer,
          seqLen,
          validation,
          out);
    }

    Options withFormat(DocumentFormat value) {
      return new Options(input, value, textColumn, source, tokenizer, seqLen, validation, out);
    }

    Options withTextColumn(String value) {
      return new Options(input, format, value, source, tokenizer, seqLen, validation, out);
    }

    Options withSource(SourceRule value) {
      return new Options(input, format, textColumn, value, tokenizer, seqLen, validation, out);
    }

    Options withTokenizer(String value) {
      return new Options(input, format, textColumn, source, value, seqLen, validation, out);
    }

    Options withSeqLen(int value) {
      return new Options(input, format, textColumn, source, tokenizer, value, validation, out);
    }

    Options withValidation(double value) {
      return new Options(input, format, textColumn, source, tokenizer, seqLen, value, out);
    }
  }
}
