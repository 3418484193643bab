package io.sparkmoe.data;

import java.io.Serializable;
import java.nio.ByteBuffer;

/**
 * What a teacher's dataset says about the tokens of a row. Position p speaks of the row's token p
 * as the target of what comes before it.
 *
 * <p>Legend: N tokens of a row with its padding, K stored tokens of a position.
 *
 * @param learned (N): whether the token is a target of the student; a prompt's tokens may not be
 * @param topK K, 0 = the teacher gave text alone
 * @param ids (N, K), row-major: the teacher's most probable tokens, distinct; -1 fills up positions
 *     with fewer and those that the teacher said nothing about
 * @param logProbabilities (N, K), row-major: of the full softmax at temperature 1
 * @param tailLogMass (N): log of the probability of all other tokens
 */
public record TeacherColumns(
    boolean[] learned, int topK, int[] ids, float[] logProbabilities, float[] tailLogMass)
    implements Serializable {

  /** Compact form for shuffles, as {@link RowPiece#toBytes}. */
  public byte[] toBytes() {
    int n = learned.length;
    int numEntries = ids.length + logProbabilities.length + tailLogMass.length;
    ByteBuffer out = ByteBuffer.allocate(Integer.BYTES * (2 + numEntries) + n);
    out.putInt(n).putInt(topK);
    for (boolean target : learned) {
      out.put((byte) (target ? 1 : 0));
    }
    for (int id : ids) {
      out.putInt(id);
    }
    for (float value : logProbabilities) {
      out.putFloat(value);
    }
    for (float value : tailLogMass) {
      out.putFloat(value);
    }
    return out.array();
  }

  /** Reads what {@link #toBytes} wrote. */
  public static TeacherColumns fromBytes(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    int n = in.getInt();
    int topK = in.getInt();
    long expected = 8L + n + 4L * n * topK * 2 + (topK == 0 ? 0 : 4L * n);
    if (n < 0 || topK < 0 || expected != bytes.length) {
      throw new IllegalArgumentException(
          "teacher columns of "
              + n
              + " tokens and top-"
              + topK
              + " take "
              + expected
              + " bytes, got "
              + bytes.length);
    }
    boolean[] learned = new boolean[n];
    for (int p = 0; p < n; p++) {
      learned[p] = in.get() != 0;
    }
    int[] ids = new int[n * topK];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = in.getInt();
    }
    float[] logProbabilities = new float[n * topK];
    for (int i = 0; i < logProbabilities.length; i++) {
      logProbabilities[i] = in.getFloat();
    }
    float[] tailLogMass = new float[topK == 0 ? 0 : n];
    for (int p = 0; p < tailLogMass.length; p++) {
      tailLogMass[p] = in.getFloat();
    }
    return new TeacherColumns(learned, topK, ids, logProbabilities, tailLogMass);
  }
}
