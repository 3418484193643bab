package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.infer.GenerationRequest;
import io.sparkmoe.infer.InferenceModel;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.infer.WeightFormat;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.spark.cluster.MachineMemory;
import io.sparkmoe.tensor.Arena;
import java.io.IOException;
import java.util.List;

/** A model in memory that is ready to write, with the engine and the memory that it needs. */
public final class LoadedModel implements AutoCloseable {

  /**
   * How MTP modules are held, whatever holds the model: the narrowest way, because the rounding of
   * a draft can cost its acceptance, not change a text.
   */
  private static final WeightFormat DRAFTS = WeightFormat.FP8;

  /** Intermediate results, and a layer's matrix while it is read. */
  private static final long WORK_BYTES = 2L << 30;

  private final ComputeEngine engine;
  private final Arena arena;
  private final InferenceModel model;

  private LoadedModel(ComputeEngine engine, Arena arena, InferenceModel model) {
    this.engine = engine;
    this.arena = arena;
    this.model = model;
  }

  /**
   * What texts keep beside the weights.
   *
   * @param firstBytes without which nothing can be written
   * @param mostBytes that it may become
   * @param advice what takes less
   */
  public record Caches(long firstBytes, long mostBytes, String advice) {

    /** Of requests that are written together. */
    static Caches of(
        ModelConfig model, List<GenerationRequest> requests, int batch, String advice) {
      long bytes = TextGenerator.cacheBytes(model, requests, batch);
      return new Caches(bytes, bytes, advice);
    }
  }

  /**
   * Loads a model.
   *
   * @param format how the weights are held; those of MTP modules are FP8
   * @param gemmBackend matrix library, "auto" = the fastest
   * @param threads compute threads; 0 = one for each core
   * @param caches what is written with it keeps
   * @throws IllegalArgumentException when this machine's memory cannot hold it
   */
  public static LoadedModel load(
      WeightSource weights, WeightFormat format, String gemmBackend, int threads, Caches caches)
      throws IOException {
    ModelConfig config = weights.model();
    // MTP modules take less.
    long weightBytes = format.bytes(config);
    // Size classes and padded panels take up to an eighth more each.
    long modelBytes = weightBytes + weightBytes / 4;
    requireMemory(MachineMemory.availableBytes(), modelBytes, caches);
    int used = threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
    ComputeEngine engine = ComputeEngine.open("infer", gemmBackend, used);
    Arena arena = new Arena("inference", modelBytes + WORK_BYTES + caches.mostBytes, caches.advice);
    try {
      return new LoadedModel(
          engine, arena, InferenceModel.load(weights, format, DRAFTS, engine, arena));
    } catch (IOException | RuntimeException e) {
      arena.close();
      engine.close();
      throw e;
    }
  }

  static void requireMemory(long availableBytes, long modelBytes, Caches caches) {
    if (modelBytes > availableBytes) {
      throw new IllegalArgumentException(
          "not enough memory: this machine has "
              + (availableBytes >> 20)
              + " MiB free, expected at least "
              + (modelBytes >> 20)
              + " MiB for the weights; take a smaller model or a larger machine");
    }
    if (modelBytes + caches.firstBytes > availableBytes) {
      throw new IllegalArgumentException(
          "not enough memory: this machine has "
              + (availableBytes >> 20)
              + " MiB free, expected at least "
              + (modelBytes >> 20)
              + " MiB for the weights and "
              + (caches.firstBytes >> 20)
              + " MiB for the caches of the texts; "
              + caches.advice);
    }
  }

  /** The model; open as long as this is. */
  public InferenceModel model() {
    return model;
  }

  /** What computes. */
  ComputeEngine engine() {
    return engine;
  }

  @Override
  public void close() {
    model.close();
    arena.close();
    engine.close();
  }
}
