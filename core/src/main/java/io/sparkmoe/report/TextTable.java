package io.sparkmoe.report;

import java.util.ArrayList;
import java.util.List;

/** Columns of text, each as wide as its widest cell. */
final class TextTable {

  private static final String GAP = "  ";

  private final String alignment;
  private final List<String[]> rows = new ArrayList<>();

  /**
   * @param alignment one letter a column: l = left, r = right
   */
  TextTable(String alignment) {
    this.alignment = alignment;
  }

  TextTable row(String... cells) {
    if (cells.length != alignment.length()) {
      throw new IllegalArgumentException(
          "row has " + cells.length + " cells, expected " + alignment.length());
    }
    rows.add(cells);
    return this;
  }

  /** The lines, indented, without trailing blanks. */
  List<String> lines() {
    int[] widths = new int[alignment.length()];
    for (String[] row : rows) {
      for (int c = 0; c < row.length; c++) {
        widths[c] = Math.max(widths[c], row[c].length());
      }
    }
    List<String> lines = new ArrayList<>();
    for (String[] row : rows) {
      StringBuilder line = new StringBuilder();
      for (int c = 0; c < row.length; c++) {
        String padding = " ".repeat(widths[c] - row[c].length());
        line.append(GAP);
        line.append(alignment.charAt(c) == 'r' ? padding + row[c] : row[c] + padding);
      }
      lines.add(line.toString().stripTrailing());
    }
    return lines;
  }
}
