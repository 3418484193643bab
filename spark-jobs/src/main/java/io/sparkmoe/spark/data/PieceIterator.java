package io.sparkmoe.spark.data;

import io.sparkmoe.data.RowPacker;
import io.sparkmoe.data.SourceStream;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import scala.Tuple2;

/**
 * Row pieces of a partition of ordered documents, packed as they are asked for; documents of
 * unwanted groups are left out.
 */
final class PieceIterator extends NonNullIterator<Tuple2<Long, byte[]>> {
  private final Iterator<Tuple2<Long, Tuple2<int[], Integer>>> rows;
  private final boolean[] wanted;
  private final List<SourceStream> streams;
  private final Map<Integer, Long> starts;
  private final int seqLen;
  private final int endOfTextId;
  private final Queue<Tuple2<Long, byte[]>> ready = new ArrayDeque<>();
  private RowPacker packer;
  private int packerGroup = -1;

  PieceIterator(
      Iterator<Tuple2<Long, Tuple2<int[], Integer>>> rows,
      boolean[] wanted,
      List<SourceStream> streams,
      Map<Integer, Long> starts,
      int seqLen,
      int endOfTextId) {
    this.rows = rows;
    this.wanted = wanted;
    this.streams = streams;
    this.starts = starts;
    this.seqLen = seqLen;
    this.endOfTextId = endOfTextId;
  }

  @Override
  protected boolean hasSource() {
    return !ready.isEmpty() || packer != null || rows.hasNext();
  }

  @Override
  protected Tuple2<Long, byte[]> nextOrNull() {
    if (ready.isEmpty()) {
      advance();
    }
    return ready.poll();
  }

  private void advance() {
    if (!rows.hasNext()) {
      packer.flush();
      packer = null;
      return;
    }
    Tuple2<Long, Tuple2<int[], Integer>> row = rows.next();
    int group = SortKey.group(row._1);
    if (!wanted[group]) {
      return;
    }
    if (group != packerGroup) {
      if (packer != null) {
        packer.flush();
      }
      packerGroup = group;
      packer =
          new RowPacker(
              streams.get(group),
              seqLen,
              endOfTextId,
              starts.get(group),
              piece -> ready.add(new Tuple2<>(piece.rowId(), piece.toBytes())));
    }
    packer.add(row._2._1);
  }
}
