package io.sparkmoe.spark.data;

import io.sparkmoe.data.RowPiece;
import io.sparkmoe.data.TokenRow;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import scala.Tuple2;

/** Rows from their pieces, which come sorted by row id. */
final class RowAssembler implements Iterator<TokenRow> {
  private final Iterator<Tuple2<Long, byte[]>> pieces;
  private final int seqLen;
  private final int endOfTextId;
  private RowPiece next;

  RowAssembler(Iterator<Tuple2<Long, byte[]>> pieces, int seqLen, int endOfTextId) {
    this.pieces = pieces;
    this.seqLen = seqLen;
    this.endOfTextId = endOfTextId;
    this.next = read();
  }

  private RowPiece read() {
    return pieces.hasNext() ? RowPiece.fromBytes(pieces.next()._2) : null;
  }

  @Override
  public boolean hasNext() {
    return next != null;
  }

  @Override
  public TokenRow next() {
    List<RowPiece> row = new ArrayList<>();
    long rowId = next.rowId();
    while (next != null && next.rowId() == rowId) {
      row.add(next);
      next = read();
    }
    return RowPiece.assemble(row, seqLen, endOfTextId);
  }
}
