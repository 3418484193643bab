package io.sparkmoe.spark.data;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.SourceStream;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.Partitioner;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.util.TaskCompletionListener;
import scala.Tuple2;
import scala.Tuple3;

/**
 * Token rows of {@link NumberedDocuments}. Documents are sorted by half, source and ordinal; the
 * token count of every partition tells each one where in its sources' streams it begins, so all
 * pack at once; rows at the borders are put together from pieces. Nothing depends on where the
 * borders are.
 */
public final class PackedRows implements AutoCloseable {

  /**
   * Tokens of one file: 16 MiB before compression, so that a small dataset still has a file for
   * every executor.
   */
  private static final long FILE_TOKENS = 1 << 22;

  private final int seqLen;
  private final int endOfTextId;
  private final List<NumberedDocuments.Group> groups;
  private final JavaPairRDD<Long, Tuple2<int[], Integer>> tokenised;
  private final JavaPairRDD<Long, Tuple2<int[], Integer>> ordered;
  private final DatasetInfo info;

  /** By group. */
  private final List<SourceStream> streams = new ArrayList<>();

  /** Partition to group to the position in the group's stream at which the partition begins. */
  private final Map<Integer, Map<Integer, Long>> starts = new HashMap<>();

  /** Tokenizes and counts; rows are made when they are asked for. */
  public PackedRows(NumberedDocuments documents, Tokenizer tokenizer, int seqLen) {
    this.seqLen = seqLen;
    this.endOfTextId = tokenizer.endOfTextId();
    this.groups = documents.groupList();
    this.tokenised = tokenise(documents, tokenizer).persist(StorageLevel.MEMORY_AND_DISK());
    this.ordered = tokenised.sortByKey(true, documents.documents().getNumPartitions());
    try {
      this.info = count(tokenizer, documents.validationEvery());
    } catch (Exception e) { // Spark throws checked exceptions undeclared
      close();
      throw e;
    }
  }

  /** (key of group and ordinal, (token ids, UTF-8 bytes)). */
  private static JavaPairRDD<Long, Tuple2<int[], Integer>> tokenise(
      NumberedDocuments documents, Tokenizer tokenizer) {
    Map<NumberedDocuments.Group, Integer> groupOf = new HashMap<>();
    for (int group = 0; group < documents.groupList().size(); group++) {
      groupOf.put(documents.groupList().get(group), group);
    }
    JavaRDD<Tuple3<Long, String, String>> texts = documents.documents();
    Broadcast<String> json =
        JavaSparkContext.fromSparkContext(texts.context()).broadcast(tokenizer.toJson());
    int every = documents.validationEvery();
    return texts.mapPartitionsToPair(
        partition -> {
          Tokenizer local = Tokenizers.fromJson(json.value());
          TaskCompletionListener closing = context -> local.close();
          TaskContext.get().addTaskCompletionListener(closing);
          return new Iterator<Tuple2<Long, Tuple2<int[], Integer>>>() {
            @Override
            public boolean hasNext() {
              return partition.hasNext();
            }

            @Override
            public Tuple2<Long, Tuple2<int[], Integer>> next() {
              Tuple3<Long, String, String> document = partition.next();
              boolean heldOut = NumberedDocuments.isHeldOut(document._1(), every);
              int group = groupOf.get(new NumberedDocuments.Group(heldOut, document._2()));
              int bytes = document._3().getBytes(StandardCharsets.UTF_8).length;
              return new Tuple2<>(
                  SortKey.of(group, document._1()),
                  new Tuple2<>(local.encode(document._3()), bytes));
            }
          };
        });
  }

  /** Fills streams and starts. */
  private DatasetInfo count(Tokenizer tokenizer, int validationEvery) {
    // Rows of: partition, group, documents, tokens, bytes; in the order of the streams.
    List<long[]> counts =
        ordered
            .mapPartitionsWithIndex((p, rows) -> countGroups(p, rows).iterator(), true)
            .collect();
    long[][] totals = new long[groups.size()][3];
    for (long[] count : counts) {
      long[] total = totals[(int) count[1]];
      starts.computeIfAbsent((int) count[0], p -> new HashMap<>()).put((int) count[1], total[1]);
      for (int i = 0; i < total.length; i++) {
        total[i] += count[2 + i];
      }
    }
    Map<Boolean, Map<String, DatasetInfo.Source>> sources =
        Map.of(false, new TreeMap<>(), true, new TreeMap<>());
    long[] nextRowId = new long[2];
    for (int group = 0; group < groups.size(); group++) {
      boolean validation = groups.get(group).validation();
      String source = groups.get(group).source();
      long[] total = totals[group];
      SourceStream stream = new SourceStream(source, nextRowId[validation ? 1 : 0], total[1]);
      streams.add(stream);
      nextRowId[validation ? 1 : 0] += stream.numRows(seqLen);
      sources
          .get(validation)
          .put(
              source, new DatasetInfo.Source(total[0], stream.numRows(seqLen), total[1], total[2]));
    }
    return new DatasetInfo(
        DatasetInfo.FORMAT_VERSION,
        seqLen,
        tokenizer.sha256(),
        tokenizer.vocabSize(),
        endOfTextId,
        validationEvery,
        DatasetInfo.Split.of(sources.get(false)),
        DatasetInfo.Split.of(sources.get(true)));
  }

  private static List<long[]> countGroups(
      int partition, Iterator<Tuple2<Long, Tuple2<int[], Integer>>> rows) {
    List<long[]> counts = new ArrayList<>();
    long[] current = null;
    while (rows.hasNext()) {
      Tuple2<Long, Tuple2<int[], Integer>> row = rows.next();
      int group = SortKey.group(row._1);
      if (current == null || current[1] != group) {
        current = new long[] {partition, group, 0, 0, 0};
        counts.add(current);
      }
      current[2]++;
      current[3] += row._2._1.length + 1;
      current[4] += row._2._2 + 1;
    }
    return counts;
  }

  /** What dataset.json will say. */
  public DatasetInfo info() {
    return info;
  }

  /** Rows of one half in the order of their ids, one partition for each file to write. */
  JavaRDD<TokenRow> rows(boolean validation) {
    long numRows = (validation ? info.validation() : info.train()).rows();
    long rowsPerFile = Math.max(1, FILE_TOKENS / (seqLen + 1));
    int numFiles = (int) Math.max(1, (numRows + rowsPerFile - 1) / rowsPerFile);
    int length = seqLen;
    int padding = endOfTextId;
    return pieces(validation)
        .repartitionAndSortWithinPartitions(new RowFiles(rowsPerFile, numFiles))
        .mapPartitions(pieces -> new RowAssembler(pieces, length, padding));
  }

  /** (row id, piece). */
  private JavaPairRDD<Long, byte[]> pieces(boolean validation) {
    List<SourceStream> streamOf = new ArrayList<>(streams);
    Map<Integer, Map<Integer, Long>> startOf = new HashMap<>(starts);
    boolean[] wanted = new boolean[groups.size()];
    for (int group = 0; group < wanted.length; group++) {
      wanted[group] = groups.get(group).validation() == validation;
    }
    int length = seqLen;
    int end = endOfTextId;
    return JavaPairRDD.fromJavaRDD(
        ordered.mapPartitionsWithIndex(
            (partition, rows) ->
                new PieceIterator(
                    rows, wanted, streamOf, startOf.getOrDefault(partition, Map.of()), length, end),
            true));
  }

  @Override
  public void close() {
    tokenised.unpersist(false);
  }

  /** Consecutive rows to a file. */
  private static final class RowFiles extends Partitioner {
    private final long rowsPerFile;
    private final int numFiles;

    RowFiles(long rowsPerFile, int numFiles) {
      this.rowsPerFile = rowsPerFile;
      this.numFiles = numFiles;
    }

    @Override
    public int numPartitions() {
      return numFiles;
    }

    @Override
    public int getPartition(Object rowId) {
      return (int) ((long) rowId / rowsPerFile);
    }
  }
}
