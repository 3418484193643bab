package io.sparkmoe.distill.student;

import io.sparkmoe.data.RowPacker;
import io.sparkmoe.data.RowPiece;
import io.sparkmoe.data.SourceStream;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import java.util.ArrayList;
import java.util.List;

/**
 * A text as rows of single characters (bytes, where it is not ASCII), its last part held out.
 *
 * @param tokenizerJson one id for each character of the text, and end-of-text
 * @param tokenizerSha256 of it
 * @param vocabSize ids of it
 * @param train rows to train on
 * @param validation rows of the last part
 */
public record CharacterText(
    String tokenizerJson,
    String tokenizerSha256,
    int vocabSize,
    List<TokenRow> train,
    List<TokenRow> validation) {

  /**
   * @param heldOut share of the text, from its end
   * @param seqLen inputs of a row
   */
  public static CharacterText of(String text, double heldOut, int seqLen) {
    int cut = (int) Math.round(text.length() * (1 - heldOut));
    if (cut <= seqLen || text.length() - cut <= seqLen) {
      throw new IllegalArgumentException(
          "the text has "
              + text.length()
              + " characters, expected more than seq_len="
              + seqLen
              + " both before and in its last "
              + Math.round(100 * heldOut)
              + " %; give a longer text");
    }
    try (Tokenizer tokenizer = Tokenizers.ofCharacters(text)) {
      return new CharacterText(
          tokenizer.toJson(),
          tokenizer.sha256(),
          tokenizer.vocabSize(),
          rows(text.substring(0, cut), tokenizer, seqLen),
          rows(text.substring(cut), tokenizer, seqLen));
    }
  }

  /** The text as one document. */
  private static List<TokenRow> rows(String text, Tokenizer tokenizer, int seqLen) {
    int[] ids = tokenizer.encode(text);
    SourceStream stream = new SourceStream("text", 0, ids.length + 1L);
    List<TokenRow> rows = new ArrayList<>();
    RowPacker packer =
        new RowPacker(
            stream,
            seqLen,
            tokenizer.endOfTextId(),
            0,
            piece -> rows.add(RowPiece.assemble(List.of(piece), seqLen, tokenizer.endOfTextId())));
    packer.add(ids);
    packer.flush();
    return rows;
  }
}
