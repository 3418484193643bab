package io.sparkmoe.infer;

import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.infer.WeightLoader.Rows;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.PanelMatrix;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.RotaryAngles;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A whole language model in one process that adds tokens to sequences and scores what may follow.
 * No backward, no exchange between ranks. Not for use by several threads at once.
 *
 * <p>Legend: M rows (new tokens of all sequences, sequence by sequence), D model width, C
 * vocabulary.
 */
public final class InferenceModel implements AutoCloseable {

  /** Passes over at most as many rows keep their memory laid out for the next one. */
  private static final int FEW_ROWS = 16;

  private final ModelConfig model;
  private final Kernels kernels;
  private final DecodeKernels decode;
  private final Arena arena;
  private final Scope weights;
  private final RotaryAngles angles;
  private final Tensor embedding;
  private final List<InferenceLayer> layers = new ArrayList<>();
  private final Tensor finalNorm;
  private final PanelMatrix head;
  private final List<InferenceMtp> mtpModules = new ArrayList<>();
  private final Scope kept;
  private final Map<Integer, Workspace> workspaces = new HashMap<>();
  private final Map<Integer, HeadRows> headRows = new HashMap<>();

  /** Bytes of the matrices that every pass reads, the head's not counted. */
  private final long bytesOfPass;

  private long bytesRead;
  private Scope manyRows;

  /** Of the pass before, which an MTP module may still read. */
  private Scope manyRowsBefore;

  /** For which rows the head runs. */
  public enum Logits {
    NONE,
    /** The last new token of each sequence. */
    LAST,
    ALL
  }

  /**
   * What a pass computed, valid until the next one.
   *
   * @param hidden hidden state before the last norm, (M, D)
   * @param normed after it, (M, D)
   * @param logits of the rows asked for, (rows, C); null for none
   */
  public record Output(Tensor hidden, Tensor normed, Tensor logits) {}

  /** Input and output of the head for a number of rows. */
  private record HeadRows(Tensor index, Tensor input, Tensor logits) {}

  private InferenceModel(
      WeightSource source,
      WeightFormat format,
      WeightFormat draftFormat,
      Kernels kernels,
      DecodeKernels decode,
      Arena arena,
      Scope weights)
      throws IOException {
    this.model = source.model();
    this.kernels = kernels;
    this.decode = decode;
    this.arena = arena;
    this.weights = weights;
    this.kept = arena.scope();
    this.manyRows = arena.scope();
    this.manyRowsBefore = arena.scope();
    this.angles = new RotaryAngles(model);
    WeightLoader loader = new WeightLoader(source, format, kernels, decode, arena, weights);
    int d = model.hiddenSize();
    this.embedding = loader.plain("model.embed_tokens.weight", model.vocabSize(), d);
    double scale = angles.softmaxScale();
    for (int layer = 0; layer < model.numHiddenLayers(); layer++) {
      layers.add(new InferenceLayer(layer, model, scale, loader, kernels, decode));
    }
    this.bytesOfPass = loader.bytesOfPass();
    this.finalNorm = loader.plain("model.norm.weight", d);
    this.head = loader.head(d, new Rows("lm_head.weight", model.vocabSize()));
    WeightLoader draftLoader =
        new WeightLoader(source, draftFormat, kernels, decode, arena, weights);
    for (int depth = 1; depth <= model.numMtpModules(); depth++) {
      mtpModules.add(
          new InferenceMtp(depth, model, embedding, scale, draftLoader, kernels, decode));
    }
  }

  /**
   * Reads a model.
   *
   * @param format how its weight matrices are held
   * @param draftFormat how those of its MTP modules are, which share the head
   * @param engine what computes; stays the caller's
   * @param arena holds weights, caches and intermediate results; stays the caller's
   */
  public static InferenceModel load(
      WeightSource source,
      WeightFormat format,
      WeightFormat draftFormat,
      ComputeEngine engine,
      Arena arena)
      throws IOException {
    return load(source, format, draftFormat, engine.kernels(), engine.decodeKernels(), arena);
  }

  /** As above, with all weights in FP32. */
  public static InferenceModel load(WeightSource source, ComputeEngine engine, Arena arena)
      throws IOException {
    return load(source, WeightFormat.FP32, WeightFormat.FP32, engine, arena);
  }

  /** As above, on given kernels. */
  public static InferenceModel load(
      WeightSource source,
      WeightFormat format,
      WeightFormat draftFormat,
      Kernels kernels,
      DecodeKernels decode,
      Arena arena)
      throws IOException {
    Scope weights = arena.scope();
    try {
      return new InferenceModel(source, format, draftFormat, kernels, decode, arena, weights);
    } catch (IOException | RuntimeException e) {
      weights.close();
      throw e;
    }
  }

  /** Shape of the model. */
  public ModelConfig config() {
    return model;
  }

  /** What chooses tokens from this model's logits. */
  public DecodeKernels decodeKernels() {
    return decode;
  }

  /** Bytes of weights that passes of the main model have read so far, and the head for all. */
  public long weightBytesRead() {
    return bytesRead;
  }

  /** An empty cache for a sequence; the caller closes it before the model. */
  public LatentCache newCache(int capacity) {
    return newCache(capacity, capacity);
  }

  /** As {@link #newCache(int)}, with memory for {@code reserved} tokens from the start. */
  public LatentCache newCache(int capacity, int reserved) {
    return new LatentCache(model, capacity, reserved, arena);
  }

  /**
   * Adds tokens to sequences. Sequences may add different numbers of tokens; each cache may occur
   * once.
   *
   * @throws IllegalArgumentException when a token is outside the vocabulary or a cache is full;
   *     nothing is added then
   */
  public Output forward(List<Append> appends, Logits wanted) {
    Workspace w = open(0, appends);
    kernels.gatherRows(w.x, embedding, w.tokens);
    for (InferenceLayer layer : layers) {
      bytesRead += layer.forward(w, appends);
    }
    bytesRead += bytesOfPass;
    kernels.rmsNorm(w.normed, w.inverseRms, w.x, finalNorm, model.rmsNormEps());
    return new Output(w.x, w.normed, logits(w.normed, appends, wanted));
  }

  /**
   * Adds positions to an MTP module: at each, the hidden state of the depth below for token i and
   * the id of token i + depth.
   *
   * @param depth from 1
   * @param previous hidden states of the depth below, (M, D): {@link Output#normed} or {@link
   *     Output#hidden}, as {@link ModelConfig#mtpHidden} says; may be rows of the latest output
   */
  public Output forwardMtp(int depth, Tensor previous, List<Append> appends, Logits wanted) {
    return forwardMtp(depth, previous, null, appends, wanted);
  }

  /**
   * As above, over some rows of the depth below.
   *
   * @param index rows of {@code previous} in the order of the appended tokens; null = all
   */
  public Output forwardMtp(
      int depth, Tensor previous, int[] index, List<Append> appends, Logits wanted) {
    Workspace w = open(depth, appends);
    mtpModules.get(depth - 1).forward(w, previous, index, appends);
    return new Output(w.x, w.normed, logits(w.normed, appends, wanted));
  }

  private Workspace open(int depth, List<Append> appends) {
    int rows = 0;
    for (Append append : appends) {
      for (int token : append.tokens()) {
        if (token < 0 || token >= model.vocabSize()) {
          throw new IllegalArgumentException(
              "token id must be in [0, vocabSize=" + model.vocabSize() + "), got " + token);
        }
      }
      append.cache().requireRoom(depth, append.tokens().length);
      rows += append.tokens().length;
    }
    Workspace w = workspace(rows);
    int[] positions = new int[rows];
    int row = 0;
    for (Append append : appends) {
      int position = append.cache().grow(depth, append.tokens().length);
      for (int token : append.tokens()) {
        w.tokens.setInt(row, token);
        positions[row++] = position++;
      }
    }
    angles.write(w.cos, w.sin, positions);
    return w;
  }

  private Workspace workspace(int rows) {
    Scope closed = manyRowsBefore;
    closed.close();
    manyRowsBefore = manyRows;
    manyRows = closed;
    if (rows > FEW_ROWS) {
      return new Workspace(model, rows, manyRows);
    }
    return workspaces.computeIfAbsent(rows, count -> new Workspace(model, count, kept));
  }

  private Tensor logits(Tensor normed, List<Append> appends, Logits wanted) {
    if (wanted == Logits.NONE) {
      return null;
    }
    int rows = wanted == Logits.ALL ? normed.rows() : appends.size();
    HeadRows own =
        rows > FEW_ROWS
            ? headRows(rows, manyRows)
            : headRows.computeIfAbsent(rows, count -> headRows(count, kept));
    Tensor input = normed;
    if (rows < normed.rows()) {
      int row = 0;
      for (int s = 0; s < rows; s++) {
        row += appends.get(s).tokens().length;
        own.index.setInt(s, row - 1);
      }
      kernels.gatherRows(own.input, normed, own.index);
      input = own.input;
    }
    decode.linear(own.logits, input, head, false);
    bytesRead += head.bytesOfOne();
    return own.logits;
  }

  private HeadRows headRows(int rows, Scope scope) {
    return new HeadRows(
        scope.allocate(DType.I32, rows),
        scope.allocate(DType.F32, rows, model.hiddenSize()),
        scope.allocate(DType.F32, rows, model.vocabSize()));
  }

  @Override
  public void close() {
    manyRows.close();
    manyRowsBefore.close();
    kept.close();
    weights.close();
  }
}
