package io.sparkmoe.spark.data;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.DistillationRow;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.api.WriteSupport;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.io.api.RecordConsumer;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

/**
 * Writes distillation rows as one Parquet file without a Spark session: a task that asks a teacher
 * must put down every answer before it asks on. The columns are those of {@link DistillationRows}.
 */
final class DistillationRowWriter {

  private static final String INTS = " (LIST) { repeated group list { required int32 element; } } ";
  private static final String FLOATS =
      " (LIST) { repeated group list { required float element; } } ";

  private static final String SCHEMA =
      "message distillation_row { "
          + "required binary id (STRING); "
          + "required binary source (STRING); "
          + "optional binary prompt (STRING); "
          + "required binary completion (STRING); "
          + "optional group messages (LIST) { repeated group list { required group element { "
          + "required binary role (STRING); required binary content (STRING); } } } "
          + ("optional group prompt_ids" + INTS)
          + ("optional group completion_ids" + INTS)
          + "optional binary reasoning (STRING); "
          + "required binary answer (STRING); "
          + "optional binary finish_reason (STRING); "
          + "required binary teacher (STRING); "
          + "optional binary teacher_revision (STRING); "
          + "optional binary tokenizer_sha256 (STRING); "
          + "optional binary template_sha256 (STRING); "
          + "optional double temperature; "
          + "optional double top_p; "
          + "optional int64 seed; "
          + ("optional group sampled_logprobs" + FLOATS)
          + "optional group topk_ids (LIST) { repeated group list { required group element"
          + (INTS + "} } ")
          + "optional group topk_logprobs (LIST) { repeated group list { required group element"
          + (FLOATS + "} } ")
          + ("optional group tail_logmass" + FLOATS)
          + "optional boolean correct; "
          + "required int64 created_at (TIMESTAMP(MICROS,true)); "
          + "}";

  private DistillationRowWriter() {}

  /** Writes a whole file; the stream stays open. */
  static void write(OutputStream out, List<DistillationRow> rows) throws IOException {
    try (ParquetWriter<DistillationRow> writer = new Builder(out).build()) {
      for (DistillationRow row : rows) {
        writer.write(row);
      }
    }
  }

  private static final class Builder extends ParquetWriter.Builder<DistillationRow, Builder> {
    Builder(OutputStream out) {
      super(new StoreOutputFile(out));
      withCompressionCodec(CompressionCodecName.SNAPPY);
    }

    @Override
    protected Builder self() {
      return this;
    }

    @Override
    protected WriteSupport<DistillationRow> getWriteSupport(Configuration configuration) {
      return new Support();
    }
  }

  private static final class Support extends WriteSupport<DistillationRow> {
    private final MessageType schema = MessageTypeParser.parseMessageType(SCHEMA);
    private RecordConsumer out;

    @Override
    public WriteContext init(Configuration configuration) {
      return new WriteContext(schema, Map.of());
    }

    @Override
    public void prepareForWrite(RecordConsumer consumer) {
      out = consumer;
    }

    @Override
    public void write(DistillationRow row) {
      out.startMessage();
      text("id", row.id());
      text("source", row.source());
      text("prompt", row.prompt());
      text("completion", row.completion());
      messages(row.messages());
      ints("prompt_ids", row.promptIds());
      ints("completion_ids", row.completionIds());
      text("reasoning", row.reasoning());
      text("answer", row.answer());
      text("finish_reason", row.finishReason());
      text("teacher", row.teacher());
      text("teacher_revision", row.teacherRevision());
      text("tokenizer_sha256", row.tokenizerSha256());
      text("template_sha256", row.templateSha256());
      field("temperature", row.temperature(), value -> out.addDouble(value));
      field("top_p", row.topP(), value -> out.addDouble(value));
      field("seed", row.seed(), value -> out.addLong(value));
      floats("sampled_logprobs", row.sampledLogprobs());
      field("topk_ids", row.topkIds(), all -> elements(all.length, i -> group(all[i])));
      field("topk_logprobs", row.topkLogprobs(), all -> elements(all.length, i -> group(all[i])));
      floats("tail_logmass", row.tailLogMass());
      field("correct", row.correct(), value -> out.addBoolean(value));
      long micros = ChronoUnit.MICROS.between(Instant.EPOCH, row.createdAt());
      field("created_at", micros, value -> out.addLong(value));
      out.endMessage();
    }

    /** What to do with a value that is there. */
    private interface Value<T> {
      void add(T value);
    }

    private <T> void field(String name, T value, Value<T> content) {
      if (value != null) {
        int index = schema.getFieldIndex(name);
        out.startField(name, index);
        content.add(value);
        out.endField(name, index);
      }
    }

    private void text(String name, String value) {
      field(name, value, text -> out.addBinary(Binary.fromString(text)));
    }

    private void ints(String name, int[] values) {
      field(name, values, this::group);
    }

    private void floats(String name, float[] values) {
      field(name, values, this::group);
    }

    private void group(int[] values) {
      out.startGroup();
      list(values.length, i -> out.addInteger(values[i]));
      out.endGroup();
    }

    private void group(float[] values) {
      out.startGroup();
      list(values.length, i -> out.addFloat(values[i]));
      out.endGroup();
    }

    private void elements(int length, Value<Integer> element) {
      out.startGroup();
      list(length, element);
      out.endGroup();
    }

    /** The repeated middle level of a list; an empty list has none. */
    private void list(int length, Value<Integer> element) {
      if (length == 0) {
        return;
      }
      out.startField("list", 0);
      for (int i = 0; i < length; i++) {
        out.startGroup();
        out.startField("element", 0);
        element.add(i);
        out.endField("element", 0);
        out.endGroup();
      }
      out.endField("list", 0);
    }

    private void messages(List<ChatMessage> messages) {
      field(
          "messages",
          messages,
          all ->
              elements(
                  all.size(),
                  i -> {
                    out.startGroup();
                    member("role", 0, all.get(i).role());
                    member("content", 1, all.get(i).content());
                    out.endGroup();
                  }));
    }

    private void member(String name, int index, String text) {
      out.startField(name, index);
      out.addBinary(Binary.fromString(text));
      out.endField(name, index);
    }
  }
}
