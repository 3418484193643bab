package io.sparkmoe.data;

import java.util.Arrays;
import java.util.function.Consumer;

/**
 * Cuts a contiguous part of a {@link SourceStream} into row pieces. Give it the documents in order,
 * then {@link #flush}. Packers of neighbouring parts need to know only where their part begins, so
 * a stream can be packed by many tasks and the rows do not depend on how it was split.
 */
public final class RowPacker {

  private final SourceStream stream;
  private final int seqLen;
  private final int endOfTextId;
  private final Consumer<RowPiece> pieces;

  private final int[] row;
  private final int[] docStarts;
  private int numDocStarts;

  /** Row of the stream, from 0. */
  private long rowIndex;

  /** Where this piece begins, and where the next token goes. */
  private int begin;

  private int end;

  /**
   * @param stream that the documents belong to
   * @param seqLen inputs of a row
   * @param endOfTextId token that follows every document
   * @param startToken position in the stream of the first token that will be added
   * @param pieces gets the pieces in order
   */
  public RowPacker(
      SourceStream stream,
      int seqLen,
      int endOfTextId,
      long startToken,
      Consumer<RowPiece> pieces) {
    this.stream = stream;
    this.seqLen = seqLen;
    this.endOfTextId = endOfTextId;
    this.pieces = pieces;
    row = new int[seqLen + 1];
    docStarts = new int[seqLen + 1];
    rowIndex = startToken / seqLen;
    begin = (int) (startToken % seqLen);
    if (begin == 0 && rowIndex > 0) {
      // A shared token: first the last target of the row before.
      rowIndex--;
      begin = seqLen;
    }
    end = begin;
  }

  /** Adds a document's tokens, without end-of-text. */
  public void add(int[] document) {
    for (int i = 0; i < document.length; i++) {
      add(document[i], i == 0);
    }
    add(endOfTextId, document.length == 0);
  }

  private void add(int token, boolean startsDocument) {
    put(token, startsDocument);
    if (end == seqLen + 1) {
      flush();
      rowIndex++;
      begin = 0;
      end = 0;
      put(token, startsDocument);
    }
  }

  private void put(int token, boolean startsDocument) {
    if (startsDocument) {
      docStarts[numDocStarts++] = end;
    }
    row[end++] = token;
  }

  /** Emits what has been added since the last piece. */
  public void flush() {
    // The stream's last token begins one more row when it fills one up exactly; that row would have
    // no target.
    if (end > begin && rowIndex < stream.numRows(seqLen)) {
      pieces.accept(
          new RowPiece(
              stream.firstRowId() + rowIndex,
              begin,
              Arrays.copyOfRange(row, begin, end),
              Arrays.copyOf(docStarts, numDocStarts),
              stream.source()));
    }
    begin = end;
    numDocStarts = 0;
  }
}
