package io.sparkmoe.data;

import java.io.Serializable;

/**
 * All documents of one source in a row, each followed by end-of-text, and where its rows lie in the
 * dataset.
 *
 * <p>Row i of a stream holds tokens i * seqLen to (i + 1) * seqLen, both included: neighbouring
 * rows share one token, the last target of one and the first input of the next, so that every token
 * but the stream's first is a target exactly once.
 *
 * @param source name of the source, such as the language
 * @param firstRowId row id of the stream's first row
 * @param numTokens tokens of the stream, end-of-text included; at least 2
 */
public record SourceStream(String source, long firstRowId, long numTokens) implements Serializable {

  /** Rows that hold at least one target. */
  public long numRows(int seqLen) {
    return (numTokens - 2) / seqLen + 1;
  }
}
