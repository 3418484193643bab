package io.sparkmoe.train;

import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Recompute;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.AllocationLedger.Frame;
import java.util.ArrayList;
import java.util.List;

/**
 * Off-heap bytes that one pass of the model takes besides parameters: plays the allocations of
 * {@code LanguageModel.train} or {@code evaluate} into an {@link AllocationLedger}, one line for
 * each tensor in the order of the code it mirrors. A test holds it against the arena of a real
 * pass.
 *
 * <p>Legend: T tokens, S positions, D model width, F FFN width, E experts, K experts of a token, R
 * rows of the local experts, A tokens that arrive, H heads, C vocabulary, N tokens that a teacher
 * stores of a position.
 */
final class PassMemory {

  private final ModelConfig model;
  private final ClusterConfig cluster;
  private final int numRanks;
  private final int rows;
  private final int seqLen;
  private final int teacherTopK;
  private final long expertRows;
  private final long arrivals;
  private final AllocationLedger ledger = new AllocationLedger();
  private final LayerMemory layers;
  private final boolean recomputes;

  /**
   * @param rows sequences of the pass on this rank
   * @param teacherTopK N, 0 = no teacher
   * @param imbalance rows of this rank's experts over an even share
   */
  PassMemory(
      ModelConfig model,
      Precision precision,
      Recompute recompute,
      ClusterConfig cluster,
      int numRanks,
      int rows,
      int seqLen,
      int teacherTopK,
      double imbalance) {
    this.model = model;
    this.layers = LayerMemory.of(precision, cluster.gemmBackend(), ledger);
    this.recomputes = recompute == Recompute.LAYER;
    this.cluster = cluster;
    this.numRanks = numRanks;
    this.rows = rows;
    this.seqLen = seqLen;
    this.teacherTopK = teacherTopK;
    long tokens = (long) rows * seqLen;
    this.expertRows = (long) (imbalance * tokens * model.numExpertsPerTok());
    double copies =
        model.numMoeLayers() == 0
            ? 0
            : new ExpertPlacement(model.numRoutedExperts(), numRanks)
                .ranksReached(model.numExpertsPerTok());
    this.arrivals = (long) (imbalance * tokens * copies);
  }

  /** Plays forward and backward. */
  AllocationLedger training() {
    try (Frame batch = batch();
        Frame main = ledger.open()) {
      long tokens = tokens(0);
      rotary(main, 0);
      main.words(tokens * model.hiddenSize());
      List<Frame> saved = new ArrayList<>();
      for (int layer = 0; layer < model.numHiddenLayers(); layer++) {
        main.words(tokens * model.hiddenSize());
        saved.add(forward(layer, tokens));
        if (recomputes) {
          saved.get(layer).close();
          keptRouting(main, layer, tokens);
        }
      }
      norm(main, main, tokens, model.hiddenSize());
      stage(main, tokens);
      head(tokens);
      mtp();
      for (int layer = model.numHiddenLayers() - 1; layer >= 0; layer--) {
        if (recomputes) {
          saved.set(layer, forward(layer, tokens));
        }
        backward(layer, tokens);
        saved.get(layer).close();
      }
    }
    return ledger;
  }

  /** Plays a forward pass alone. */
  AllocationLedger evaluation() {
    try (Frame batch = batch();
        Frame main = ledger.open()) {
      long tokens = tokens(0);
      main.words(tokens * model.hiddenSize());
      rotary(main, 0);
      for (int layer = 0; layer < model.numHiddenLayers(); layer++) {
        main.words(tokens * model.hiddenSize());
        forward(layer, tokens).close();
      }
      norm(main, main, tokens, model.hiddenSize());
      head(tokens);
      for (int depth = 1; depth <= model.numMtpModules(); depth++) {
        rotary(main, depth);
        join(main, tokens(depth));
        // Kept to the end of the pass, as all of an MTP module is.
        forward(model.numHiddenLayers() + depth - 1, tokens(depth));
        norm(main, main, tokens(depth), model.hiddenSize());
        head(tokens(depth));
      }
    }
    return ledger;
  }

  /** The driver's answer, which is not asked for twice. */
  private void keptRouting(Frame main, int layer, long tokens) {
    if (model.isMoe(layer) && cluster.gatePlacement() == GatePlacement.DRIVER) {
      main.words(tokens * model.numExpertsPerTok());
      main.words(tokens * model.numExpertsPerTok());
    }
  }

  private long tokens(int depth) {
    return (long) rows * (seqLen - depth);
  }

  private Frame batch() {
    Frame batch = ledger.open();
    batch.words(tokens(0));
    batch.words(rows);
    for (int depth = 0; depth <= model.numMtpModules(); depth++) {
      batch.words(tokens(depth));
    }
    if (teacherTopK > 0) {
      batch.words(tokens(0) * teacherTopK);
      batch.words(tokens(0) * teacherTopK);
      batch.words(tokens(0));
    }
    return batch;
  }

  private void rotary(Frame frame, int depth) {
    frame.words((long) (seqLen - depth) * model.qkRopeHeadDim() / 2);
    frame.words((long) (seqLen - depth) * model.qkRopeHeadDim() / 2);
    if (depth > 0) {
      frame.words(rows);
    }
  }

  private static void norm(Frame saved, Frame outputs, long tokens, long width) {
    saved.words(tokens);
    outputs.words(tokens * width);
  }

  /** Gradients of a hidden state and of its norm. */
  private void stage(Frame frame, long tokens) {
    frame.words(tokens * model.hiddenSize());
    frame.words(tokens * model.hiddenSize());
  }

  private void head(long tokens) {
    long block = Math.min(tokens, LanguageModel.logitRows(model));
    try (Frame scratch = ledger.open()) {
      scratch.words(tokens);
      scratch.words(block * model.vocabSize());
      try (Frame inner = ledger.open()) {
        layers.head(inner, block, model.hiddenSize(), model.vocabSize());
      }
    }
  }

  private void mtp() {
    List<Frame> open = new ArrayList<>();
    List<Frame> saved = new ArrayList<>();
    for (int depth = 1; depth <= model.numMtpModules(); depth++) {
      Frame module = ledger.open();
      open.add(module);
      rotary(module, depth);
      join(module, tokens(depth));
      saved.add(forward(model.numHiddenLayers() + depth - 1, tokens(depth)));
      norm(module, module, tokens(depth), model.hiddenSize());
      stage(module, tokens(depth));
      head(tokens(depth));
    }
    for (int depth = model.numMtpModules(); depth >= 1; depth--) {
      long wide = tokens(depth) * model.hiddenSize();
      backward(model.numHiddenLayers() + depth - 1, tokens(depth));
      try (Frame scratch = ledger.open()) {
        scratch.words(2 * wide);
        layers.forGradient(scratch, tokens(depth), 2L * model.hiddenSize());
        layers.projectionBackward(tokens(depth), model.hiddenSize());
        scratch.words(wide);
        scratch.words(wide);
      }
      saved.get(depth - 1).close();
      open.get(depth - 1).close();
    }
  }

  /** What an MTP module keeps before its layer. */
  private void join(Frame module, long tokens) {
    long wide = tokens * model.hiddenSize();
    module.words(tokens);
    module.words(tokens);
    for (int i = 0; i < 4; i++) {
      module.words(wide);
    }
    try (Frame scratch = ledger.open()) {
      module.words(tokens);
      scratch.words(wide);
      module.words(tokens);
      scratch.words(wide);
      layers.inputFrame(module, scratch).words(2 * wide);
      layers.input(module, scratch, tokens, 2L * model.hiddenSize());
    }
  }

  /** Forward of a decoder layer; the frame holds what its backward needs. */
  private Frame forward(int layer, long tokens) {
    long d = model.hiddenSize();
    Frame saved = ledger.open();
    saved.words(tokens * d);
    try (Frame scratch = ledger.open()) {
      norm(saved, layers.inputFrame(saved, scratch), tokens, d);
      layers.input(saved, scratch, tokens, d);
      attention(saved, tokens);
    }
    try (Frame scratch = ledger.open()) {
      norm(saved, layers.inputFrame(saved, scratch), tokens, d);
      if (model.isMoe(layer)) {
        experts(saved, scratch, tokens);
      } else {
        layers.input(saved, scratch, tokens, d);
        layers.feedForward(saved, tokens, model.intermediateSize());
      }
    }
    return saved;
  }

  private void attention(Frame saved, long tokens) {
    long heads = model.numAttentionHeads();
    long value = tokens * heads * model.vHeadDim();
    boolean keeps = layers.keepsProducts();
    try (Frame core = ledger.open()) {
      if (model.qLoraRank() > 0) {
        bottleneck(saved, core, tokens, model.qLoraRank());
      }
      bottleneck(saved, core, tokens, model.kvLoraRank());
      (keeps ? core : saved).words(tokens * model.qkRopeHeadDim());
      heads(keeps ? saved : core, tokens);
      layers.inputFrame(saved, core).words(value);
      saved.words(tokens * heads);
      layers.keep(saved, value);
      layers.input(saved, core, tokens, heads * model.vHeadDim());
    }
  }

  /** What the attention core reads. */
  private void heads(Frame frame, long tokens) {
    long heads = model.numAttentionHeads();
    long query = tokens * heads * model.qkHeadDim();
    long value = tokens * heads * model.vHeadDim();
    frame.words(query);
    frame.words(query);
    frame.words(value);
    try (Frame scratch = ledger.open()) {
      scratch.words(query);
    }
    try (Frame scratch = ledger.open()) {
      scratch.words(tokens * heads * (model.qkNopeHeadDim() + model.vHeadDim()));
    }
  }

  private void bottleneck(Frame saved, Frame scratch, long tokens, long width) {
    saved.words(tokens * width);
    norm(saved, layers.inputFrame(saved, scratch), tokens, width);
    layers.input(saved, scratch, tokens, width);
  }

  private void experts(Frame saved, Frame scratch, long tokens) {
    long d = model.hiddenSize();
    long pairs = tokens * model.numExpertsPerTok();
    if (cluster.gatePlacement() == GatePlacement.EXECUTOR) {
      layers.gate(saved, tokens, d);
      saved.words(tokens * model.numRoutedExperts());
    }
    saved.words(pairs);
    saved.words(pairs);
    layers.input(saved, scratch, tokens, d);
    if (model.numSharedExperts() > 0) {
      layers.feedForward(saved, tokens, sharedWidth());
    }
    saved.words(numRanks == 1 ? tokens : arrivals);
    saved.words(pairs);
    try (Frame sending = ledger.open()) {
      encoded(sending, cluster.dispatchWire(), tokens);
      for (int i = 0; i < 3; i++) {
        saved.words(expertRows);
      }
      arrived(layers.inputFrame(saved, scratch));
    }
    arrived(scratch);
    if (numRanks > 1) {
      layers.input(saved, scratch, arrivals, d);
    }
    layers.experts(saved, expertRows, d, model.moeIntermediateSize());
  }

  private long sharedWidth() {
    return (long) model.numSharedExperts() * model.moeIntermediateSize();
  }

  /** A row of every token that came from any rank; one rank's tokens stay where they are. */
  private void arrived(Frame frame) {
    if (numRanks > 1) {
      frame.words(arrivals * model.hiddenSize());
    }
  }

  /** All tokens in the format of a wire, and the copies that go to one rank. */
  private void encoded(Frame frame, Wire wire, long tokens) {
    if (numRanks > 1) {
      frame.bytes(wire.bytes(tokens * model.hiddenSize()));
      frame.bytes(wire.bytes(arrivals / numRanks * model.hiddenSize()));
    }
  }

  private void backward(int layer, long tokens) {
    long d = model.hiddenSize();
    try (Frame scratch = ledger.open()) {
      scratch.words(tokens * d);
      if (model.isMoe(layer)) {
        expertsBackward(tokens);
      } else {
        layers.forGradient(scratch, tokens, d);
        layers.feedForwardBackward(tokens, d, model.intermediateSize());
      }
      attentionBackward(tokens);
    }
  }

  private void expertsBackward(long tokens) {
    long d = model.hiddenSize();
    try (Frame scratch = ledger.open()) {
      scratch.words(tokens * model.numExpertsPerTok());
      try (Frame exchange = ledger.open()) {
        try (Frame sending = ledger.open()) {
          encoded(sending, cluster.combineWire(), tokens);
          arrived(exchange);
        }
        arrived(exchange);
        exchange.words(expertRows);
        layers.expertsBackward(
            numRanks == 1 ? tokens : arrivals, expertRows, d, model.moeIntermediateSize());
        try (Frame sending = ledger.open()) {
          encoded(sending, cluster.dispatchWire(), tokens);
        }
      }
      try (Frame gate = ledger.open()) {
        gate.words(tokens * d);
        if (cluster.gatePlacement() == GatePlacement.EXECUTOR) {
          gate.words(tokens * model.numRoutedExperts());
        }
        if (model.numSharedExperts() > 0) {
          layers.forGradient(gate, tokens, d);
          layers.feedForwardBackward(tokens, d, sharedWidth());
        }
      }
    }
  }

  private void attentionBackward(long tokens) {
    long d = model.hiddenSize();
    long heads = model.numAttentionHeads();
    long queryWidth = heads * model.qkHeadDim();
    long value = tokens * heads * model.vHeadDim();
    try (Frame scratch = ledger.open()) {
      scratch.words(tokens * queryWidth);
      scratch.words(tokens * queryWidth);
      scratch.words(value);
      try (Frame inner = ledger.open()) {
        if (!layers.keepsProducts()) {
          layers.again(inner, tokens, model.qLoraRank() > 0 ? model.qLoraRank() : d);
          layers.again(inner, tokens, model.kvLoraRank());
          heads(inner, tokens);
        }
        inner.words(value);
        layers.forGradient(inner, tokens, heads * model.vHeadDim());
        layers.projectionBackward(tokens, d);
        layers.restore(inner, value);
      }
      layers.forGradient(scratch, tokens, d);
      try (Frame inner = ledger.open()) {
        long width = heads * (model.qkNopeHeadDim() + model.vHeadDim());
        inner.words(tokens * width);
        inner.words(tokens * model.qkRopeHeadDim());
        layers.projectionBackward(tokens, model.qkRopeHeadDim());
        bottleneckBackward(inner, tokens, width, model.kvLoraRank());
      }
      try (Frame inner = ledger.open()) {
        inner.words(tokens * queryWidth);
        if (model.qLoraRank() > 0) {
          bottleneckBackward(inner, tokens, queryWidth, model.qLoraRank());
        } else {
          layers.projectionBackward(tokens, queryWidth);
        }
      }
    }
  }

  private void bottleneckBackward(Frame scratch, long tokens, long up, long width) {
    scratch.words(tokens * width);
    layers.forGradient(scratch, tokens, width);
    layers.projectionBackward(tokens, up);
    scratch.words(tokens * width);
    layers.projectionBackward(tokens, width);
  }
}
