package io.sparkmoe.model;

import io.sparkmoe.model.OutputHead.LossSum;

/** Adds up the losses of a pass. */
final class LossCollector {

  private final double[] mtpSum;
  private final long[] mtpCount;
  private LossSum main;
  private double balance;
  private long dropped;

  LossCollector(int depths) {
    mtpSum = new double[depths];
    mtpCount = new long[depths];
  }

  void main(LossSum sum) {
    main = sum;
  }

  void mtp(int depth, LossSum sum) {
    mtpSum[depth - 1] = sum.sum();
    mtpCount[depth - 1] = sum.count();
  }

  void add(DecoderLayer.Saved layer) {
    balance += layer.balanceLoss();
    dropped += layer.droppedTokens();
  }

  Losses total() {
    return new Losses(main.sum(), main.count(), mtpSum, mtpCount, balance, dropped);
  }
}
