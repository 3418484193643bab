package io.sparkmoe.spark.data;

/** How documents lie in input files. */
public enum DocumentFormat {
  /** UTF-8 text, one document a line. */
  TEXT,
  /** One JSON object a line. */
  JSONL,
  /** One row a document. */
  PARQUET
}
