package io.sparkmoe.spark.data;

import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.io.Store;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * A folder of distillation rows as {@code moe teach} leaves it, written and read in this process
 * without a Spark session: {@code data/*.parquet}, {@code tokenizer.json}, and {@code
 * distillation.json} last, whose presence is the commit.
 */
public final class DistillationFiles {

  private static final String DATA = "data";

  /** Rows that are in memory at a time. */
  private static final int ROWS_PER_FILE = 1024;

  private DistillationFiles() {}

  /**
   * Writes a folder, in place of an earlier one.
   *
   * @param rows asked for one by one
   */
  public static void write(
      Store folder, Iterator<DistillationRow> rows, String tokenizerJson, DistillationInfo info)
      throws IOException {
    folder.delete(DistillationInfo.FILE);
    folder.delete(DATA);
    for (int file = 0; rows.hasNext(); file++) {
      List<DistillationRow> some = new ArrayList<>();
      while (some.size() < ROWS_PER_FILE && rows.hasNext()) {
        some.add(rows.next());
      }
      String name = String.format(Locale.ROOT, "%s/part-%05d.parquet", DATA, file);
      folder.write(name, out -> DistillationRowWriter.write(out, some));
    }
    folder.writeText(TokenDataset.TOKENIZER_JSON, tokenizerJson);
    folder.writeText(DistillationInfo.FILE, info.toJson());
  }

  /** Gives the rows of a folder in the order in which they were written. */
  public static void read(Store folder, Configuration configuration, Consumer<DistillationRow> rows)
      throws IOException {
    for (String name : folder.list(DATA).stream().sorted().toList()) {
      Path file = new Path(folder.location() + "/" + DATA + "/" + name);
      DistillationRowReader.read(file, configuration, rows);
    }
  }
}
