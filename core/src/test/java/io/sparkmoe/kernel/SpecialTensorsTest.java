package io.sparkmoe.kernel;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.kernel.Kernels.AdamWStep;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** All kernels on tensors without rows, and on denormal and infinite values. */
class SpecialTensorsTest {

  private static final int D = 37;
  private static final int E = 32;
  private static final int K = 4;
  private static final int GROUPS = 4;

  /** Longest sum of any of the kernels here. */
  private static final int TERMS = 256;

  private static final AdamWStep STEP =
      new AdamWStep(1e-3, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05, 0.5, true);

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  private void agree(String what, KernelTwins.Call call, Tensor... tensors) {
    twins.agree(what, TERMS, call, tensors);
  }

  @ParameterizedTest
  @CsvSource({"0, MIXED", "5, DENORMAL", "5, INFINITE"})
  void elementwise(int rows, Fill fill) {
    Tensor x = twins.filled(fill, rows, D);
    Tensor y = twins.filled(fill, rows, D);
    Tensor sum = twins.unwritten(DType.F64, 1);
    agree("add", (k, t) -> k.add(t[0], t[1]), y, x);
    agree("addScaled", (k, t) -> k.addScaled(t[0], t[1], -0.37), y, x);
    agree("sumOfSquares", (k, t) -> t[0].set(0, k.sumOfSquares(t[1])), sum, x);
    agree("firstNonFinite", (k, t) -> t[0].set(0, k.firstNonFinite(t[1])), sum, x);
    agree("sigmoid", (k, t) -> k.sigmoid(t[0], t[1]), twins.unwritten(rows, D), x);
    agree("sigmoidBackward", (k, t) -> k.sigmoidBackward(t[0], t[1], t[2]), y, x, y);
    Tensor gateUp = twins.filled(fill, rows, 2 * D);
    Tensor h = twins.unwritten(rows, D);
    Tensor rowWeight = twins.mixed(rows);
    agree("swiGlu", (k, t) -> k.swiGlu(t[0], t[1], t[2]), h, gateUp, rowWeight);
    agree("swiGlu without weights", (k, t) -> k.swiGlu(t[0], t[1], null), h, gateUp);
    agree(
        "swiGluBackward",
        (k, t) -> k.swiGluBackward(t[0], t[1], t[2], t[3], t[4], t[5]),
        twins.unwritten(rows, 2 * D),
        twins.unwritten(rows),
        h,
        x,
        gateUp,
        rowWeight);
    agree(
        "swiGluBackward without weights",
        (k, t) -> k.swiGluBackward(t[0], null, t[1], t[2], t[3], null),
        twins.unwritten(rows, 2 * D),
        h,
        x,
        gateUp);
    Tensor weight = twins.mixed(D);
    Tensor rms = twins.unwritten(rows);
    agree("rmsNorm", (k, t) -> k.rmsNorm(t[0], t[1], t[2], t[3], 1e-6), y, rms, x, weight);
    agree(
        "rmsNormBackward",
        (k, t) -> k.rmsNormBackward(t[0], t[1], t[2], t[3], t[4], t[5]),
        twins.mixed(rows, D),
        twins.mixed(D),
        twins.mixed(rows, D),
        x,
        twins.positive(rows),
        weight);
    agree(
        "adamW",
        (k, t) -> k.adamW(t[0], t[1], t[2], t[3], STEP),
        twins.mixed(rows, D),
        twins.mixed(rows, D),
        twins.positive(rows, D),
        x);
  }

  @ParameterizedTest
  @CsvSource({"0, MIXED", "5, DENORMAL", "5, INFINITE"})
  void rows(int rows, Fill fill) {
    Tensor x = twins.filled(fill, rows, D);
    Tensor of = twins.filled(fill, 3, D);
    Tensor index = twins.indices(0, 3, rows);
    agree("gatherRows", (k, t) -> k.gatherRows(t[0], t[1], t[2]), x, of, index);
    agree("scatterAddRows", (k, t) -> k.scatterAddRows(t[0], t[1], t[2]), of, x, index);
    Tensor picks = twins.indices(0, 3, rows * 2).reshape(rows, 2);
    Tensor weight = twins.mixed(rows, 2);
    agree("sumPickedRows", (k, t) -> k.sumPickedRows(t[0], t[1], t[2], t[3]), x, of, picks, weight);
    agree(
        "addToPickedRows",
        (k, t) -> k.addToPickedRows(t[0], t[1], t[2], t[3]),
        of,
        x,
        picks,
        weight);
    Tensor joined = twins.filled(fill, rows, 2 * D);
    agree("concatColumns", (k, t) -> k.concatColumns(t[0], t[1], t[2]), joined, x, x);
    agree("splitColumnsAdd", (k, t) -> k.splitColumnsAdd(t[0], t[1], t[2]), x, x, joined);
  }

  @ParameterizedTest
  @CsvSource({"0, MIXED", "70, DENORMAL", "70, INFINITE"})
  void products(int rows, Fill fill) {
    Tensor x = twins.filled(fill, rows, D);
    Tensor y = twins.mixed(rows, 19);
    agree("linear", (k, t) -> k.linear(t[0], t[1], t[2]), y, x, twins.mixed(19, D));
    agree(
        "weight gradient",
        (k, t) -> k.matmul(t[0], t[1], true, t[2], false, true),
        twins.mixed(19, D),
        y,
        x);
    int[] starts = {0, rows / 2, rows / 2, rows};
    agree(
        "groupedMatmul",
        (k, t) -> k.groupedMatmul(t[0], t[1], t[2], true, starts, false),
        y,
        x,
        twins.mixed(3, 19, D));
    agree(
        "groupedWeightGradient",
        (k, t) -> k.groupedWeightGradient(t[0], t[1], t[2], starts, true),
        twins.mixed(3, 19, D),
        y,
        x);
  }

  @ParameterizedTest
  @CsvSource({"0, MIXED", "5, DENORMAL", "5, INFINITE"})
  void routerAndLoss(int rows, Fill fill) {
    Tensor scores = twins.filled(fill, rows, E);
    Tensor ids = twins.unwritten(DType.I32, rows, K);
    agree(
        "selectExperts",
        (k, t) -> k.selectExperts(t[0], t[1], t[2], GROUPS, 2),
        ids,
        scores,
        twins.positive(E));
    agree(
        "selectExperts of all groups",
        (k, t) -> k.selectExperts(t[0], t[1], null, GROUPS, GROUPS),
        ids,
        scores);
    Tensor positive = twins.positive(rows, E);
    new ReferenceKernels().selectExperts(ids, positive, null, GROUPS, GROUPS);
    agree(
        "routingWeights",
        (k, t) -> k.routingWeights(t[0], t[1], t[2], true, 2.5),
        twins.unwritten(rows, K),
        positive,
        ids);
    agree(
        "routingWeightsBackward",
        (k, t) -> k.routingWeightsBackward(t[0], t[1], t[2], t[3], true, 2.5),
        twins.mixed(rows, E),
        twins.filled(fill, rows, K),
        positive,
        ids);
    agree(
        "chosenLogitsBackward",
        (k, t) -> k.chosenLogitsBackward(t[0], t[1], t[2], t[3], true, 2.5),
        twins.unwritten(rows, K),
        twins.filled(fill, rows, K),
        positive,
        ids);
    Tensor valid = twins.indices(rows, rows + 1, rows == 0 ? 0 : 1);
    agree(
        "balanceLoss",
        (k, t) -> t[0].set(0, k.balanceLoss(t[1], t[2], t[3], K)),
        twins.unwritten(DType.F64, 1),
        twins.unwritten(valid.size(), E),
        positive,
        valid);
    agree(
        "balanceLossBackward",
        (k, t) -> k.balanceLossBackward(t[0], t[1], t[2], t[3], 0.1),
        twins.mixed(rows, E),
        positive,
        twins.filled(fill, valid.size(), E),
        valid);
    agree(
        "crossEntropy",
        (k, t) -> k.crossEntropy(t[0], t[1], t[2], 0.1),
        twins.unwritten(rows),
        scores,
        twins.indices(-1, E, rows));
  }

  /**
   * Not infinities: behind the causal mask they stay out of the reference's sums, where tiles
   * multiply them by zero.
   */
  @ParameterizedTest
  @CsvSource({"0, MIXED", "1, DENORMAL"})
  void attention(int sequences, Fill fill) {
    int s = 70;
    Tensor query = twins.filled(fill, sequences, 2, s, 12);
    Tensor key = twins.filled(fill, sequences, 2, s, 12);
    Tensor value = twins.filled(fill, sequences, 2, s, 8);
    Tensor out = twins.mixed(sequences * s, 16);
    Tensor logSumExp = twins.positive(sequences, 2, s);
    agree(
        "attention",
        (k, t) -> k.attention(t[0], t[1], t[2], t[3], t[4], 0.3),
        out,
        logSumExp,
        query,
        key,
        value);
    agree(
        "attentionBackward",
        (k, t) -> k.attentionBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], 0.3),
        twins.unwritten(query.shape()),
        twins.unwritten(key.shape()),
        twins.unwritten(value.shape()),
        twins.mixed(out.shape()),
        out,
        logSumExp,
        query,
        key,
        value);
  }
}
