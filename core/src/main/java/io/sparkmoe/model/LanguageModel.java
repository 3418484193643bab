package io.sparkmoe.model;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.RmsNorm;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.model.ModelConfig.MtpHidden;
import io.sparkmoe.moe.Gate;
import io.sparkmoe.moe.Routing;
import io.sparkmoe.moe.TokenDispatcher;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * DeepSeek-V3's language model on one rank: embedding, decoder layers, final norm, head, and
 * multi-token prediction modules that share embedding and head. The experts of other ranks are
 * reached through the dispatcher, so all ranks must run the same passes in the same order. Not for
 * use by several threads at once.
 *
 * <p>Legend: B sequences, S positions, T = B*S tokens, D model width, C vocabulary, k MTP depth
 * (from 1).
 */
public final class LanguageModel {

  private final ModelConfig config;
  private final Kernels kernels;
  private final Weight embedding;
  private final RotaryAngles angles;
  private final List<DecoderLayer> decoderLayers = new ArrayList<>();
  private final DecoderStack stack;
  private final RmsNorm finalNorm;
  private final OutputHead head;
  private final List<MtpModule> mtpModules = new ArrayList<>();

  /**
   * Everything that a forward pass computed, for tests and analysis.
   *
   * @param hidden output of each decoder layer of the main model, (T, D)
   * @param logits (T, C)
   * @param mtpHidden output of each MTP module's layer, (B*(S-k), D)
   * @param mtpLogits of each MTP module, (B*(S-k), C)
   * @param routings by MoE layer, MTP layers included
   */
  public record Trace(
      List<Tensor> hidden,
      Tensor logits,
      List<Tensor> mtpHidden,
      List<Tensor> mtpLogits,
      Map<Integer, Routing> routings) {}

  /**
   * A model that computes in the type of its weights.
   *
   * @param parameters replicated weights and local experts, with gradients if {@link #train} is to
   *     be called
   * @param gate the gating networks of all MoE layers
   */
  public LanguageModel(
      Parameters parameters, Gate gate, TokenDispatcher dispatcher, Kernels kernels) {
    this(parameters, gate, dispatcher, new ExactLayers(kernels), new PhaseClock(Phase.TRUNK));
  }

  /** Of a model that keeps all that its backward needs; otherwise as below. */
  public LanguageModel(
      Parameters parameters,
      Gate gate,
      TokenDispatcher dispatcher,
      Layers layers,
      PhaseClock clock) {
    this(parameters, gate, dispatcher, layers, Recompute.NONE, clock);
  }

  /**
   * @param layers the number format of the model; it must be told when the weights change
   * @param recompute what {@link #train} computes again instead of keeping it
   * @param clock learns what the time of each pass went to
   */
  public LanguageModel(
      Parameters parameters,
      Gate gate,
      TokenDispatcher dispatcher,
      Layers layers,
      Recompute recompute,
      PhaseClock clock) {
    this.config = parameters.config();
    this.kernels = layers.kernels();
    this.embedding = parameters.weight("model.embed_tokens.weight");
    this.angles = new RotaryAngles(config);
    for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
      decoderLayers.add(
          new DecoderLayer(
              layer, parameters, angles.softmaxScale(), gate, dispatcher, layers, clock));
    }
    this.stack = new DecoderStack(decoderLayers, gate, recompute);
    this.finalNorm =
        new RmsNorm(kernels, parameters.weight("model.norm.weight"), config.rmsNormEps());
    this.head = new OutputHead(layers, parameters.weight("lm_head.weight"), clock);
    for (int depth = 1; depth <= config.numMtpModules(); depth++) {
      mtpModules.add(
          new MtpModule(
              depth,
              parameters,
              embedding,
              angles.softmaxScale(),
              gate,
              dispatcher,
              layers,
              clock));
    }
  }

  /** Rows whose logits exist at a time in training and evaluation. */
  public static int logitRows(ModelConfig config) {
    return OutputHead.blockRows(config.vocabSize());
  }

  /** A hidden state, its norm, and the gradients of both. */
  private record Stage(RmsNorm.Saved norm, Tensor dHidden, Tensor dNormed) {}

  /**
   * Forward and backward of one micro-batch; adds to the gradients. As many MTP modules run as the
   * batch has MTP targets for.
   *
   * @param step optimizer step, from 1
   * @param microBatch number of the pass within the step
   * @param scales factor of each sum of losses in the total
   * @param arena where activations live during the call
   */
  public Losses train(int step, int microBatch, TokenBatch batch, LossScales scales, Arena arena) {
    Pass pass = new Pass(step, microBatch, true);
    LossCollector losses = new LossCollector(depths(batch));
    try (Scope scope = arena.scope();
        LayerScopes layerScopes = new LayerScopes(arena)) {
      Sequences main = sequences(batch, 0, scope);
      Tensor x = embed(batch, scope);
      DecoderStack.Run run = stack.forward(x, main, pass, losses, scope, layerScopes);
      Stage stage = stage(finalNorm.forward(run.output(), scope), scope);
      losses.main(
          head.lossAndGradient(
              stage.dNormed, stage.norm.y(), HeadLoss.of(batch), scales.main(), scope));
      trainMtp(stage, batch, scales, pass, losses, layerScopes);
      finalNorm.backward(stage.dHidden, stage.dNormed, stage.norm);
      Tensor d = stage.dHidden;
      stack.backward(d, run, scales.balance(), arena);
      kernels.scatterAddRows(embedding.gradient(), d, tokens(batch));
    }
    return losses.total();
  }

  /** Forward and backward of the MTP modules; adds to the gradients of the main model's stage. */
  private void trainMtp(
      Stage main,
      TokenBatch batch,
      LossScales scales,
      Pass pass,
      LossCollector losses,
      LayerScopes layerScopes) {
    int depths = depths(batch);
    List<Stage> stages = new ArrayList<>(List.of(main));
    List<MtpModule.Saved> saved = new ArrayList<>();
    List<Sequences> sequences = new ArrayList<>();
    List<Scope> scopes = new ArrayList<>();
    for (int k = 1; k <= depths; k++) {
      Scope scope = layerScopes.open();
      scopes.add(scope);
      sequences.add(sequences(batch, k, scope));
      MtpModule.Saved module =
          mtpModules
              .get(k - 1)
              .forward(
                  passedOn(stages.get(k - 1).norm),
                  batch.inputs(),
                  sequences.get(k - 1),
                  pass,
                  scope);
      Stage stage = stage(module.head(), scope);
      saved.add(module);
      stages.add(stage);
      losses.add(module.layer());
      losses.mtp(
          k,
          head.lossAndGradient(
              stage.dNormed,
              stage.norm.y(),
              HeadLoss.crossEntropy(batch.mtpTargets().get(k - 1)),
              scales.mtp()[k - 1],
              scope));
    }
    for (int k = depths; k >= 1; k--) {
      Stage stage = stages.get(k);
      Stage previous = stages.get(k - 1);
      Tensor dPrevious =
          config.mtpHidden() == MtpHidden.POST_NORM ? previous.dNormed : previous.dHidden;
      mtpModules
          .get(k - 1)
          .backward(
              dPrevious,
              stage.dHidden,
              stage.dNormed,
              saved.get(k - 1),
              sequences.get(k - 1),
              scales.balance(),
              scopes.get(k - 1));
      scopes.get(k - 1).close();
    }
  }

  /** Forward only; otherwise as {@link #evaluate(int, int, TokenBatch, Arena, RoutingListener)}. */
  public Losses evaluate(int step, int microBatch, TokenBatch batch, Arena arena) {
    return evaluate(step, microBatch, batch, arena, RoutingListener.NONE);
  }

  /**
   * Forward only; gates neither count its load nor keep anything.
   *
   * @param microBatch number of the pass within the step, counting on after the training ones
   * @param listener hears of every MoE layer's routing
   */
  public Losses evaluate(
      int step, int microBatch, TokenBatch batch, Arena arena, RoutingListener listener) {
    Pass pass = new Pass(step, microBatch, false);
    LossCollector losses = new LossCollector(depths(batch));
    try (Scope scope = arena.scope()) {
      RmsNorm.Saved norm = forward(pass, batch, losses, listener, scope);
      losses.main(head.loss(norm.y(), batch.targets(), scope));
      for (int k = 1; k <= depths(batch); k++) {
        MtpModule module = mtpModules.get(k - 1);
        MtpModule.Saved saved =
            module.forward(passedOn(norm), batch.inputs(), sequences(batch, k, scope), pass, scope);
        losses.add(saved.layer());
        report(module.layer(), saved.layer(), batch, listener);
        norm = saved.head();
        losses.mtp(k, head.loss(norm.y(), batch.mtpTargets().get(k - 1), scope));
      }
    }
    return losses.total();
  }

  /**
   * Forward of the main model only, in the memory of {@link #evaluate}.
   *
   * @param listener hears of the logits of all tokens
   */
  public void logits(
      int step, int microBatch, TokenBatch batch, Arena arena, LogitsListener listener) {
    Pass pass = new Pass(step, microBatch, false);
    try (Scope scope = arena.scope()) {
      RmsNorm.Saved norm = forward(pass, batch, new LossCollector(0), RoutingListener.NONE, scope);
      head.logits(norm.y(), scope, listener);
    }
  }

  /** The main model up to its final norm, keeping no layer's intermediate results. */
  private RmsNorm.Saved forward(
      Pass pass, TokenBatch batch, LossCollector losses, RoutingListener listener, Scope scope) {
    Tensor x = embed(batch, scope);
    Sequences main = sequences(batch, 0, scope);
    for (DecoderLayer layer : decoderLayers) {
      try (Scope layerScope = scope.inner()) {
        Tensor y = scope.allocate(x.type(), x.shape());
        DecoderLayer.Saved saved = layer.forward(y, x, main, pass, null, layerScope);
        losses.add(saved);
        report(layer.layer(), saved, batch, listener);
        x = y;
      }
    }
    return finalNorm.forward(x, scope);
  }

  /**
   * Forward only, keeping every intermediate result; for tests and analysis. Targets are not read,
   * all MTP modules run.
   *
   * @param scope owns the trace
   */
  public Trace trace(int step, int microBatch, TokenBatch batch, Scope scope) {
    Pass pass = new Pass(step, microBatch, false);
    Sequences main = sequences(batch, 0, scope);
    Trace trace =
        new Trace(
            new ArrayList<>(),
            logits(main.numTokens(), scope),
            new ArrayList<>(),
            new ArrayList<>(),
            new TreeMap<>());
    Tensor x = embed(batch, scope);
    for (DecoderLayer layer : decoderLayers) {
      Tensor y = scope.allocate(x.type(), x.shape());
      DecoderLayer.Saved saved = layer.forward(y, x, main, pass, null, scope);
      report(
          layer.layer(),
          saved,
          batch,
          (number, routing, all) -> trace.routings.put(number, routing));
      trace.hidden.add(y);
      x = y;
    }
    RmsNorm.Saved norm = finalNorm.forward(x, scope);
    head.logits(trace.logits, norm.y(), scope);
    for (MtpModule module : mtpModules) {
      Sequences sequences = sequences(batch, trace.mtpHidden.size() + 1, scope);
      MtpModule.Saved saved =
          module.forward(passedOn(norm), batch.inputs(), sequences, pass, scope);
      report(
          module.layer(),
          saved.layer(),
          batch,
          (number, routing, all) -> trace.routings.put(number, routing));
      norm = saved.head();
      Tensor logits = logits(sequences.numTokens(), scope);
      head.logits(logits, norm.y(), scope);
      trace.mtpHidden.add(norm.x());
      trace.mtpLogits.add(logits);
    }
    return trace;
  }

  private static void report(
      int layer, DecoderLayer.Saved saved, TokenBatch batch, RoutingListener listener) {
    if (saved.experts() != null) {
      listener.onRouting(layer, saved.experts().routing(), batch);
    }
  }

  /** The hidden state that the next MTP module reads. */
  private Tensor passedOn(RmsNorm.Saved norm) {
    return config.mtpHidden() == MtpHidden.POST_NORM ? norm.y() : norm.x();
  }

  private static Stage stage(RmsNorm.Saved norm, Scope scope) {
    Tensor hidden = norm.x();
    return new Stage(
        norm,
        scope.zeros(hidden.type(), hidden.shape()),
        scope.allocate(hidden.type(), hidden.shape()));
  }

  private int depths(TokenBatch batch) {
    int depths = batch.mtpTargets().size();
    if (depths > mtpModules.size()) {
      throw new IllegalArgumentException(
          "the batch has targets of "
              + depths
              + " MTP depths, the model has "
              + mtpModules.size()
              + " MTP modules");
    }
    return depths;
  }

  private Tensor embed(TokenBatch batch, Scope scope) {
    Tensor x =
        scope.allocate(
            embedding.value().type(), batch.numSequences() * batch.seqLen(), config.hiddenSize());
    kernels.gatherRows(x, embedding.value(), tokens(batch));
    return x;
  }

  private static Tensor tokens(TokenBatch batch) {
    return batch.inputs().reshape(batch.inputs().size());
  }

  private Tensor logits(int numTokens, Scope scope) {
    return scope.allocate(embedding.value().type(), numTokens, config.vocabSize());
  }

  /**
   * The positions of an MTP depth, or of the main model at depth 0: the last {@code depth} of each
   * sequence are cut.
   */
  private Sequences sequences(TokenBatch batch, int depth, Scope scope) {
    int length = batch.seqLen() - depth;
    if (length < 1) {
      throw new IllegalArgumentException(
          "a sequence must have more tokens than the model has MTP modules="
              + mtpModules.size()
              + ", got "
              + batch.seqLen());
    }
    DType type = embedding.value().type();
    Tensor cos = scope.allocate(type, length, config.qkRopeHeadDim() / 2);
    Tensor sin = scope.allocate(type, length, config.qkRopeHeadDim() / 2);
    angles.write(cos, sin);
    Tensor valid = batch.valid();
    if (depth > 0) {
      valid = scope.allocate(DType.I32, batch.numSequences());
      for (int b = 0; b < batch.numSequences(); b++) {
        valid.setInt(b, Math.max(batch.valid().getInt(b) - depth, 0));
      }
    }
    return new Sequences(batch.numSequences(), length, cos, sin, valid);
  }
}
