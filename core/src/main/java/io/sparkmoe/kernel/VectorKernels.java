package io.sparkmoe.kernel;

import static io.sparkmoe.kernel.KernelArguments.allF32;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;

/**
 * The fast twin of {@link ReferenceKernels} for F32: checks arguments and hands them to one class a
 * family. Products go to a {@link Gemm}, everything else to fused loops of the Vector API, both cut
 * into pieces for {@link Parallel} by size alone. Needs the JVM flag {@code
 * --add-modules=jdk.incubator.vector}. Several threads may call at once; {@link ThreadPoolParallel}
 * then serves the first and the others compute alone.
 */
public final class VectorKernels implements Kernels {

  private final DType operandType;
  private final int operandUnit;
  private final VectorMatmul matmul;
  private final VectorElementwise elementwise;
  private final VectorSwiGlu swiGlu;
  private final VectorGatedFp8 gatedFp8;
  private final VectorNorm norm;
  private final VectorRows rows;
  private final VectorRotary rotary;
  private final VectorAttention attention;
  private final VectorRouter router;
  private final VectorLoss loss;
  private final VectorRanking ranking;
  private final VectorAdamW adamW;
  private final VectorBfloat16 bfloat16;
  private final VectorFp8 fp8;

  /**
   * @param gemm matrix library; stays the caller's
   * @param parallel threads; stay the caller's
   */
  public VectorKernels(Gemm gemm, Parallel parallel) {
    operandType = gemm.operandType();
    operandUnit = operandType == DType.BF16 ? gemm.bfloat16Unit() : 1;
    matmul = new VectorMatmul(gemm, parallel);
    elementwise = new VectorElementwise(parallel);
    swiGlu = new VectorSwiGlu(parallel);
    gatedFp8 = new VectorGatedFp8(parallel);
    norm = new VectorNorm(parallel);
    rows = new VectorRows(parallel);
    rotary = new VectorRotary(parallel);
    attention = new VectorAttention(gemm, parallel);
    router = new VectorRouter(parallel);
    loss = new VectorLoss(parallel);
    ranking = new VectorRanking(parallel);
    adamW = new VectorAdamW(parallel);
    bfloat16 = new VectorBfloat16(parallel);
    fp8 = new VectorFp8(parallel);
  }

  @Override
  public DType operandType() {
    return operandType;
  }

  @Override
  public int operandRows(int rows) {
    return Pieces.count(rows, operandUnit) * operandUnit;
  }

  // ---- matrix products

  @Override
  public void matmul(
      Tensor c, Tensor a, boolean transposeA, Tensor b, boolean transposeB, boolean accumulate) {
    KernelArguments.product(c, a, b);
    KernelArguments.matmul(c, a, transposeA, b, transposeB);
    matmul.matmul(c, a, transposeA, b, transposeB, accumulate);
  }

  @Override
  public void groupedMatmul(
      Tensor c, Tensor a, Tensor b, boolean transposeB, int[] rowStarts, boolean accumulate) {
    KernelArguments.product(c, a, b);
    KernelArguments.groupedMatmul(c, a, b, transposeB, rowStarts);
    matmul.grouped(c, a, b, transposeB, rowStarts, accumulate);
  }

  @Override
  public void groupedWeightGradient(
      Tensor dw, Tensor dy, Tensor x, int[] rowStarts, boolean accumulate) {
    KernelArguments.product(dw, dy, x);
    KernelArguments.groupedWeightGradient(dw, dy, x, rowStarts);
    matmul.groupedWeightGradient(dw, dy, x, rowStarts, accumulate);
  }

  @Override
  public void forEachGroup(int[] rowStarts, GroupBody body) {
    matmul.forEachGroup(rowStarts, body);
  }

  // ---- element-wise

  @Override
  public void add(Tensor y, Tensor x) {
    addScaled(y, x, 1);
  }

  @Override
  public void addScaled(Tensor y, Tensor x, double a) {
    allF32(y, x);
    KernelArguments.sameSize(y, x);
    elementwise.addScaled(y, x, (float) a);
  }

  @Override
  public double sumOfSquares(Tensor x) {
    allF32(x);
    return elementwise.sumOfSquares(x);
  }

  @Override
  public int firstNonFinite(Tensor x) {
    allF32(x);
    return elementwise.firstNonFinite(x);
  }

  @Override
  public void rmsNorm(Tensor y, Tensor inverseRms, Tensor x, Tensor weight, double eps) {
    allF32(y, inverseRms, x, weight);
    KernelArguments.rmsNorm(y, inverseRms, x, weight);
    norm.forward(y, inverseRms, x, weight, eps);
  }

  @Override
  public void rmsNormBackward(
      Tensor dx, Tensor dWeight, Tensor dy, Tensor x, Tensor inverseRms, Tensor weight) {
    allF32(dx, dWeight, dy, x, inverseRms, weight);
    KernelArguments.rmsNorm(dx, inverseRms, x, weight);
    KernelArguments.sameSize(dy, x);
    KernelArguments.sameSize(dWeight, weight);
    norm.backward(dx, dWeight, dy, x, inverseRms, weight);
  }

  @Override
  public void swiGlu(Tensor h, Tensor gateUp, Tensor weight) {
    allF32(h, gateUp, weight);
    KernelArguments.swiGlu(h, gateUp, weight);
    swiGlu.forward(h, gateUp, weight);
  }

  @Override
  public void swiGluBackward(
      Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight) {
    allF32(dGateUp, dWeight, h, dh, gateUp, weight);
    KernelArguments.swiGluBackward(dGateUp, dWeight, h, dh, gateUp, weight);
    swiGlu.backward(dGateUp, dWeight, h, dh, gateUp, weight);
  }

  // ---- rows

  @Override
  public void gatherRows(Tensor y, Tensor x, Tensor index) {
    KernelArguments.typed(y, x.type());
    KernelArguments.rows(y, x, index);
    rows.gather(y, x, index);
  }

  @Override
  public void scatterAddRows(Tensor y, Tensor x, Tensor index) {
    allF32(y, x);
    KernelArguments.rows(x, y, index);
    rows.scatterAdd(y, x, index);
  }

  @Override
  public void sumPickedRows(Tensor y, Tensor x, Tensor index, Tensor weight) {
    allF32(y, x, weight);
    KernelArguments.picks(y, x, index, weight);
    rows.sumPicked(y, x, index, weight);
  }

  @Override
  public void addToPickedRows(Tensor y, Tensor x, Tensor index, Tensor weight) {
    allF32(y, x, weight);
    KernelArguments.picks(x, y, index, weight);
    rows.addToPicked(y, x, index, weight);
  }

  @Override
  public void concatColumns(Tensor y, Tensor a, Tensor b) {
    allF32(y, a, b);
    KernelArguments.columns(y, a, b);
    rows.concatColumns(y, a, b);
  }

  @Override
  public void splitColumnsAdd(Tensor da, Tensor db, Tensor dy) {
    allF32(da, db, dy);
    KernelArguments.columns(dy, da, db);
    rows.splitColumnsAdd(da, db, dy);
  }

  // ---- attention

  @Override
  public void assembleQuery(Tensor query, Tensor q, Tensor cos, Tensor sin) {
    allF32(query, q, cos, sin);
    rotary.query(query, q, cos, sin);
  }

  @Override
  public void assembleQueryBackward(Tensor dq, Tensor dQuery, Tensor cos, Tensor sin) {
    allF32(dq, dQuery, cos, sin);
    rotary.queryBackward(dq, dQuery, cos, sin);
  }

  @Override
  public void assembleKeyValue(
      Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin) {
    allF32(key, value, kv, keyRope, cos, sin);
    rotary.keyValue(key, value, kv, keyRope, cos, sin);
  }

  @Override
  public void assembleKeyValueBackward(
      Tensor dkv, Tensor dKeyRope, Tensor dKey, Tensor dValue, Tensor cos, Tensor sin) {
    allF32(dkv, dKeyRope, dKey, dValue, cos, sin);
    rotary.keyValueBackward(dkv, dKeyRope, dKey, dValue, cos, sin);
  }

  @Override
  public void attention(
      Tensor out, Tensor logSumExp, Tensor query, Tensor key, Tensor value, double scale) {
    allF32(out, logSumExp, query, key, value);
    attention.forward(out, logSumExp, query, key, value, scale);
  }

  @Override
  public void attentionBackward(
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue,
      Tensor dOut,
      Tensor out,
      Tensor logSumExp,
      Tensor query,
      Tensor key,
      Tensor value,
      double scale) {
    allF32(dQuery, dKey, dValue, dOut, out, logSumExp, query, key, value);
    KernelArguments.sameSize(dQuery, query);
    KernelArguments.sameSize(dKey, key);
    KernelArguments.sameSize(dValue, value);
    KernelArguments.sameSize(dOut, out);
    attention.backward(dQuery, dKey, dValue, dOut, out, logSumExp, query, key, value, scale);
  }

  // ---- router

  @Override
  public void sigmoid(Tensor y, Tensor x) {
    allF32(y, x);
    KernelArguments.sameSize(y, x);
    elementwise.sigmoid(y, x);
  }

  @Override
  public void selectExperts(Tensor ids, Tensor scores, Tensor bias, int numGroups, int topGroups) {
    allF32(scores, bias);
    router.selectExperts(ids, scores, bias, numGroups, topGroups);
  }

  @Override
  public void routingWeights(
      Tensor weights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    allF32(weights, scores);
    router.routingWeights(weights, scores, ids, normalise, scale);
  }

  @Override
  public void routingWeightsBackward(
      Tensor dScores, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    allF32(dScores, dWeights, scores);
    router.routingWeightsBackward(dScores, dWeights, scores, ids, normalise, scale);
  }

  @Override
  public void chosenLogitsBackward(
      Tensor dLogits, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    allF32(dLogits, dWeights, scores);
    router.chosenLogitsBackward(dLogits, dWeights, scores, ids, normalise, scale);
  }

  @Override
  public void sigmoidBackward(Tensor dLogits, Tensor dScores, Tensor scores) {
    allF32(dLogits, dScores, scores);
    KernelArguments.sameSize(dLogits, dScores);
    KernelArguments.sameSize(dScores, scores);
    elementwise.sigmoidBackward(dLogits, dScores, scores);
  }

  @Override
  public double balanceLoss(Tensor frequency, Tensor scores, Tensor valid, int topK) {
    allF32(frequency, scores);
    return router.balanceLoss(frequency, scores, valid, topK);
  }

  @Override
  public void balanceLossBackward(
      Tensor dScores, Tensor scores, Tensor frequency, Tensor valid, double gradientScale) {
    allF32(dScores, scores, frequency);
    router.balanceLossBackward(dScores, scores, frequency, valid, gradientScale);
  }

  // ---- loss and optimizer

  @Override
  public void crossEntropy(Tensor losses, Tensor logits, Tensor targets, double gradientScale) {
    allF32(losses, logits);
    KernelArguments.crossEntropy(losses, logits, targets);
    loss.crossEntropy(losses, logits, logits, targets, gradientScale);
  }

  @Override
  public void crossEntropyBfloat16(
      Tensor losses, Tensor dLogits, Tensor logits, Tensor targets, double gradientScale) {
    allF32(losses, logits);
    KernelArguments.operandTyped(dLogits);
    KernelArguments.sameSize(dLogits, logits);
    KernelArguments.crossEntropy(losses, logits, targets);
    loss.crossEntropy(losses, dLogits, logits, targets, gradientScale);
  }

  @Override
  public void distillation(
      Tensor losses,
      Tensor logits,
      Tensor targets,
      TeacherTargets teacher,
      DistillationLoss distillation,
      double gradientScale) {
    allF32(losses, logits, teacher.logProbabilities(), teacher.tailLogMass());
    KernelArguments.distillation(losses, logits, targets, teacher);
    loss.distillation(losses, logits, targets, teacher, distillation, gradientScale);
  }

  @Override
  public void rankTokens(
      TeacherTargets ranked, Tensor given, Tensor logits, Tensor targets, int numTokens) {
    allF32(given, logits, ranked.logProbabilities(), ranked.tailLogMass());
    KernelArguments.rankTokens(ranked, given, logits, targets, numTokens);
    ranking.rankTokens(ranked, given, logits, targets, numTokens);
  }

  @Override
  public void adamW(
      Tensor weight, Tensor firstMoment, Tensor secondMoment, Tensor gradient, AdamWStep step) {
    allF32(weight, firstMoment, secondMoment, gradient);
    KernelArguments.sameSize(weight, gradient);
    KernelArguments.sameSize(weight, firstMoment);
    KernelArguments.sameSize(weight, secondMoment);
    adamW.step(weight, firstMoment, secondMoment, gradient, step);
  }

  @Override
  public void adamWBfloat16(Tensor weight, Tensor moments, Tensor gradient, AdamWStep step) {
    allF32(weight, gradient);
    KernelArguments.typed(moments, DType.I32);
    KernelArguments.sameSize(weight, gradient);
    KernelArguments.sameSize(weight, moments);
    adamW.stepOfBfloat16(weight, moments, gradient, step);
  }

  // ---- FP8

  @Override
  public void quantize(
      Tensor operand,
      Fp8Tensor kept,
      Tensor x,
      int[] rowStarts,
      Fp8Scaling scaling,
      Fp8Statistics statistics) {
    KernelArguments.quantize(operand, kept, x, rowStarts, scaling);
    fp8.quantize(operand, kept, x, rowStarts, scaling);
    Fp8Statistics.count(statistics, operand, kept, x, rowStarts);
  }

  @Override
  public void requantize(
      Tensor operand, Fp8Tensor x, int[] rowStarts, Fp8Scaling scaling, Fp8Statistics statistics) {
    KernelArguments.requantize(operand, x, rowStarts);
    fp8.requantize(operand, x, rowStarts, scaling);
    Fp8Statistics.count(statistics, operand, x, rowStarts);
  }

  @Override
  public void dequantize(Tensor values, Fp8Tensor x) {
    KernelArguments.dequantize(values, x);
    fp8.dequantize(values, x);
  }

  @Override
  public void gatedFp8(Tensor hidden, Fp8Tensor kept, Tensor gateUp, Tensor weight) {
    allF32(gateUp, weight);
    KernelArguments.gatedFp8(hidden, kept, gateUp, weight);
    gatedFp8.forward(hidden, kept, gateUp, weight);
  }

  @Override
  public void gatedFp8Backward(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dWeight,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor weight,
      int[] rowStarts) {
    allF32(dWeight, dHidden, weight);
    KernelArguments.gatedFp8Backward(
        dGateUp, dGateUpTransposed, hiddenTransposed, dWeight, dHidden, kept, weight, rowStarts);
    gatedFp8.backward(
        dGateUp, dGateUpTransposed, hiddenTransposed, dWeight, dHidden, kept, weight, rowStarts);
  }

  // ---- conversions

  @Override
  public void toBfloat16(Tensor rounded, Tensor f32) {
    allF32(f32);
    KernelArguments.operand(rounded, f32);
    bfloat16.round(rounded, f32);
  }

  @Override
  public void fromBfloat16(Tensor f32, Tensor bf16) {
    allF32(f32);
    KernelArguments.typed(bf16, DType.BF16);
    KernelArguments.sameSize(bf16, f32);
    bfloat16.widen(f32, bf16);
  }
}
