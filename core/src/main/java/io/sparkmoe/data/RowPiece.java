package io.sparkmoe.data;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A run of tokens inside one row. Where a stream is packed by several tasks, a row at their border
 * comes in pieces.
 *
 * @param rowId row that it belongs to
 * @param offset position in the row of its first token
 * @param tokens token ids
 * @param docStarts ascending positions in the row, within this piece, where a document begins
 * @param source of the row
 */
public record RowPiece(long rowId, int offset, int[] tokens, int[] docStarts, String source) {

  /** The row without its padding, as one piece. */
  public static RowPiece of(TokenRow row) {
    int[] tokens = Arrays.copyOf(row.tokens(), row.numTokens());
    return new RowPiece(row.rowId(), 0, tokens, row.docStarts(), row.source());
  }

  /**
   * Puts a row together.
   *
   * @param pieces all pieces of the row, in any order
   * @param seqLen the row's length less one
   * @param endOfTextId what the row is padded with
   */
  public static TokenRow assemble(List<RowPiece> pieces, int seqLen, int endOfTextId) {
    RowPiece any = pieces.get(0);
    int[] tokens = new int[seqLen + 1];
    Arrays.fill(tokens, endOfTextId);
    int numTokens = 0;
    int present = 0;
    IntStream docStarts = IntStream.empty();
    for (RowPiece piece : pieces) {
      System.arraycopy(piece.tokens, 0, tokens, piece.offset, piece.tokens.length);
      numTokens = Math.max(numTokens, piece.offset + piece.tokens.length);
      present += piece.tokens.length;
      docStarts = IntStream.concat(docStarts, IntStream.of(piece.docStarts));
    }
    assert present == numTokens
        : "row " + any.rowId + " has " + present + " of " + numTokens + " tokens";
    return new TokenRow(any.rowId, tokens, docStarts.sorted().toArray(), numTokens, any.source);
  }

  /** Compact form for shuffles, which does not depend on how a serializer treats records. */
  public byte[] toBytes() {
    byte[] name = source.getBytes(StandardCharsets.UTF_8);
    ByteBuffer out =
        ByteBuffer.allocate(
            Long.BYTES + Integer.BYTES * (4 + tokens.length + docStarts.length) + name.length);
    out.putLong(rowId).putInt(offset);
    putInts(out, tokens);
    putInts(out, docStarts);
    out.putInt(name.length).put(name);
    return out.array();
  }

  /** Reads what {@link #toBytes} wrote. */
  public static RowPiece fromBytes(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    long rowId = in.getLong();
    int offset = in.getInt();
    int[] tokens = getInts(in);
    int[] docStarts = getInts(in);
    byte[] name = new byte[in.getInt()];
    in.get(name);
    return new RowPiece(rowId, offset, tokens, docStarts, new String(name, StandardCharsets.UTF_8));
  }

  private static void putInts(ByteBuffer out, int[] values) {
    out.putInt(values.length);
    out.asIntBuffer().put(values);
    out.position(out.position() + Integer.BYTES * values.length);
  }

  private static int[] getInts(ByteBuffer in) {
    int[] values = new int[in.getInt()];
    in.asIntBuffer().get(values);
    in.position(in.position() + Integer.BYTES * values.length);
    return values;
  }
}
