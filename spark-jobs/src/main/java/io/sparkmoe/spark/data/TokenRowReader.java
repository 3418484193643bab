package io.sparkmoe.spark.data;

import io.sparkmoe.data.TokenRow;
import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.InitContext;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.io.api.Converter;
import org.apache.parquet.io.api.GroupConverter;
import org.apache.parquet.io.api.PrimitiveConverter;
import org.apache.parquet.io.api.RecordMaterializer;
import org.apache.parquet.schema.MessageType;

/**
 * Reads token rows from one Parquet file without a Spark session and without a boxed value per
 * token.
 */
final class TokenRowReader {

  private TokenRowReader() {}

  /**
   * Gives the rows of a file in its order.
   *
   * @throws BadInputException naming the file, when it cannot be read as token rows
   */
  static void read(Path file, Configuration configuration, Consumer<TokenRow> rows) {
    try (ParquetReader<TokenRow> reader = open(file, configuration)) {
      for (TokenRow row = reader.read(); row != null; row = reader.read()) {
        rows.accept(row);
      }
    } catch (IOException | RuntimeException e) {
      throw unreadable(file, e);
    }
  }

  /**
   * Rows of a file as its footer says; no row is read.
   *
   * @throws BadInputException naming the file, when it is not Parquet
   */
  static long count(Path file, Configuration configuration) {
    try (ParquetFileReader reader =
        ParquetFileReader.open(HadoopInputFile.fromPath(file, configuration))) {
      return reader.getRecordCount();
    } catch (IOException | RuntimeException e) {
      throw unreadable(file, e);
    }
  }

  private static BadInputException unreadable(Path file, Exception e) {
    return new BadInputException(
        file + " cannot be read as token rows: " + e.getMessage() + "; run moe prepare again", e);
  }

  private static ParquetReader<TokenRow> open(Path file, Configuration configuration)
      throws IOException {
    return new ParquetReader.Builder<TokenRow>(HadoopInputFile.fromPath(file, configuration)) {
      @Override
      protected ReadSupport<TokenRow> getReadSupport() {
        return new RowReadSupport();
      }
    }.build();
  }

  private static final class RowReadSupport extends ReadSupport<TokenRow> {
    @Override
    public ReadContext init(InitContext context) {
      return new ReadContext(context.getFileSchema());
    }

    @Override
    public RecordMaterializer<TokenRow> prepareForRead(
        Configuration configuration,
        Map<String, String> metadata,
        MessageType fileSchema,
        ReadContext context) {
      return new RowMaterializer(fileSchema);
    }
  }

  private static final class RowMaterializer extends RecordMaterializer<TokenRow> {
    private final RowConverter root;

    RowMaterializer(MessageType schema) {
      root = new RowConverter(schema);
    }

    @Override
    public TokenRow getCurrentRecord() {
      return root.row();
    }

    @Override
    public GroupConverter getRootConverter() {
      return root;
    }
  }

  /** Columns are found by name, so their order in the file does not matter. */
  private static final class RowConverter extends GroupConverter {
    private final Converter[] converters;
    private final IntList tokens = new IntList();
    private final IntList docStarts = new IntList();
    private final Scalar source = new Scalar();
    private final Scalar rowId = new Scalar();
    private final Scalar numTokens = new Scalar();

    RowConverter(MessageType schema) {
      for (String column :
          new String[] {"tokens", "doc_starts", "source", "row_id", "num_tokens"}) {
        if (!schema.containsField(column)) {
          throw new IllegalArgumentException("column " + column + " is missing");
        }
      }
      converters = new Converter[schema.getFieldCount()];
      for (int i = 0; i < converters.length; i++) {
        converters[i] =
            switch (schema.getFieldName(i)) {
              case "tokens" -> listOf(tokens);
              case "doc_starts" -> listOf(docStarts);
              case "source" -> source;
              case "row_id" -> rowId;
              case "num_tokens" -> numTokens;
              default ->
                  throw new IllegalArgumentException(
                      "column " + schema.getFieldName(i) + " is unknown");
            };
      }
    }

    /** LIST in Parquet's three levels: the column, the repeated group, the element. */
    private static Converter listOf(IntList values) {
      return new Nested(new Nested(values));
    }

    @Override
    public Converter getConverter(int field) {
      return converters[field];
    }

    @Override
    public void start() {
      tokens.size = 0;
      docStarts.size = 0;
    }

    @Override
    public void end() {}

    TokenRow row() {
      return new TokenRow(
          rowId.number, tokens.toArray(), docStarts.toArray(), (int) numTokens.number, source.text);
    }
  }

  private static final class Nested extends GroupConverter {
    private final Converter child;

    Nested(Converter child) {
      this.child = child;
    }

    @Override
    public Converter getConverter(int field) {
      return child;
    }

    @Override
    public void start() {}

    @Override
    public void end() {}
  }

  private static final class IntList extends PrimitiveConverter {
    private int[] values = new int[256];
    private int size;

    @Override
    public void addInt(int value) {
      if (size == values.length) {
        values = Arrays.copyOf(values, 2 * size);
      }
      values[size++] = value;
    }

    int[] toArray() {
      return Arrays.copyOf(values, size);
    }
  }

  private static final class Scalar extends PrimitiveConverter {
    private long number;
    private String text;

    @Override
    public void addLong(long value) {
      number = value;
    }

    @Override
    public void addInt(int value) {
      number = value;
    }

    @Override
    public void addBinary(Binary value) {
      text = value.toStringUsingUTF8();
    }
  }
}
