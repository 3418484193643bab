package io.sparkmoe.train;

import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.kernel.TeacherTargets;
import io.sparkmoe.model.Distillation;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import io.sparkmoe.train.DistillConfig.Loss;
import java.util.ArrayList;
import java.util.List;

/**
 * Lays packed rows out as inputs and targets. S tokens of a sequence; a row has S + 1. Documents in
 * a row see each other (DeepSeek-V3 packs without a cross-sample mask in pre-training), but an MTP
 * target is ignored when another document begins between its source and the tokens it is built
 * from.
 */
final class BatchAssembler {

  private static final int IGNORED = -1;
  private static final int NO_ENTRY = -1;

  private final int seqLen;
  private final int numMtpModules;
  private final DistillConfig distill;

  /** For next-token losses, whatever teachers say. */
  BatchAssembler(int seqLen, int numMtpModules) {
    this(seqLen, numMtpModules, DistillConfig.defaults().withLoss(Loss.CROSS_ENTROPY));
  }

  /**
   * @param distill how rows with a teacher are learnt
   */
  BatchAssembler(int seqLen, int numMtpModules, DistillConfig distill) {
    this.seqLen = seqLen;
    this.numMtpModules = numMtpModules;
    this.distill = distill;
  }

  /** Targets that count, over all rows: of the main loss, then of each MTP depth. */
  long[] countTargets(List<TokenRow> rows) {
    long[] counts = new long[1 + numMtpModules];
    for (TokenRow row : rows) {
      for (int depth = 0; depth <= numMtpModules; depth++) {
        for (int i = 0; i < seqLen - depth; i++) {
          counts[depth] += target(row, i, depth) == IGNORED ? 0 : 1;
        }
      }
    }
    return counts;
  }

  TokenBatch assemble(List<TokenRow> rows, Allocator allocator) {
    int numSequences = rows.size();
    Tensor inputs = allocator.allocate(DType.I32, numSequences, seqLen);
    Tensor valid = allocator.allocate(DType.I32, numSequences);
    for (int b = 0; b < numSequences; b++) {
      TokenRow row = rows.get(b);
      for (int i = 0; i < seqLen; i++) {
        inputs.setInt(b * seqLen + i, row.tokens()[i]);
      }
      valid.setInt(b, Math.min(seqLen, row.numTokens()));
    }
    Tensor targets = targets(rows, 0, allocator);
    List<Tensor> mtpTargets = new ArrayList<>();
    for (int depth = 1; depth <= numMtpModules; depth++) {
      mtpTargets.add(targets(rows, depth, allocator));
    }
    return new TokenBatch(inputs, targets, mtpTargets, valid, distillation(rows, allocator));
  }

  /** What the rows' teachers say about the targets of the main loss, null = nothing to learn. */
  private Distillation distillation(List<TokenRow> rows, Allocator allocator) {
    int topK = TokenRow.teacherTopK(rows);
    if (topK == 0 || !distill.readsTeacher()) {
      return null;
    }
    int positions = rows.size() * seqLen;
    TeacherTargets targets =
        new TeacherTargets(
            allocator.allocate(DType.I32, positions, topK),
            allocator.allocate(DType.F32, positions, topK),
            allocator.allocate(DType.F32, positions));
    for (int t = 0; t < positions; t++) {
      putTeacher(targets, t, rows.get(t / seqLen).teacher(), t % seqLen + 1);
    }
    return new Distillation(targets, distill.rowLoss());
  }

  /** Row t of the targets, from what a teacher says about the token at a position of its row. */
  private static void putTeacher(
      TeacherTargets targets, int t, TeacherColumns teacher, int position) {
    int topK = targets.topK();
    int stored = teacher == null ? 0 : teacher.topK();
    for (int j = 0; j < topK; j++) {
      int at = position * stored + j;
      targets.ids().setInt(t * topK + j, j < stored ? teacher.ids()[at] : NO_ENTRY);
      targets
          .logProbabilities()
          .setFloat(t * topK + j, j < stored ? teacher.logProbabilities()[at] : 0);
    }
    targets.tailLogMass().setFloat(t, stored == 0 ? 0 : teacher.tailLogMass()[position]);
  }

  private Tensor targets(List<TokenRow> rows, int depth, Allocator allocator) {
    int positions = seqLen - depth;
    Tensor targets = allocator.allocate(DType.I32, rows.size(), positions);
    for (int b = 0; b < rows.size(); b++) {
      for (int i = 0; i < positions; i++) {
        targets.setInt(b * positions + i, target(rows.get(b), i, depth));
      }
    }
    return targets;
  }

  /** Token {@code depth + 1} after position i, or ignored. */
  private static int target(TokenRow row, int i, int depth) {
    int position = i + depth + 1;
    if (!row.learns(position)) {
      return IGNORED;
    }
    for (int start : row.docStarts()) {
      if (start > i && start <= i + depth) {
        return IGNORED;
      }
    }
    return row.tokens()[position];
  }
}
