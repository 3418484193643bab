package io.sparkmoe.model;

import java.util.EnumMap;
import java.util.Map;

/**
 * Numbers of parameters by what they are for, without allocating any. The selection biases count as
 * parameters of the gates, as DeepSeek counts them; MTP modules are counted apart, without the
 * embedding and head that they share with the main model.
 *
 * @param main parameters of the main model by use
 * @param mtp parameters of the MTP modules by use
 * @param topK experts K of a token
 * @param numExperts routed experts E of a layer
 */
public record ParameterCount(Map<Use, Long> main, Map<Use, Long> mtp, int topK, int numExperts) {

  /** What a parameter is for. */
  public enum Use {
    EMBEDDING("embedding"),
    ATTENTION("attention"),
    DENSE_FFN("dense FFN"),
    ROUTED_EXPERTS("routed experts"),
    SHARED_EXPERTS("shared experts"),
    GATES("gates"),
    NORMS("norms"),
    MTP_JOINTS("MTP joints"),
    HEAD("head");

    private final String label;

    Use(String label) {
      this.label = label;
    }

    /** The use in words. */
    public String label() {
      return label;
    }
  }

  /** Counts a model's parameters. */
  public static ParameterCount of(ModelConfig config) {
    Map<Use, Long> main = new EnumMap<>(Use.class);
    Map<Use, Long> mtp = new EnumMap<>(Use.class);
    String firstMtp = Parameters.layerPrefix(config.numHiddenLayers());
    for (TensorShape shape : Parameters.shapes(config)) {
      boolean isMtp =
          shape.name().startsWith("model.layers.") && layerOf(shape.name()) >= layerOf(firstMtp);
      (isMtp ? mtp : main).merge(use(shape), shape.numElements(), Long::sum);
    }
    return new ParameterCount(main, mtp, config.numExpertsPerTok(), config.numRoutedExperts());
  }

  /** All of the main model. */
  public long total() {
    return sum(main);
  }

  /** All of the MTP modules. */
  public long mtpTotal() {
    return sum(mtp);
  }

  /** Routed experts of the main model. */
  public long routed() {
    return main.getOrDefault(Use.ROUTED_EXPERTS, 0L);
  }

  /** What every rank or the driver holds of the main model. */
  public long nonRouted() {
    return total() - routed();
  }

  /** Parameters that one token passes through in the main model, embedding and head included. */
  public long active() {
    return nonRouted() + (numExperts == 0 ? 0 : routed() / numExperts * topK);
  }

  /**
   * {@link #active} without the embedding, of which a token reads one row: the count that papers
   * quote.
   */
  public long activeWithoutEmbedding() {
    return active() - main.getOrDefault(Use.EMBEDDING, 0L);
  }

  /** {@link #active} without embedding and head. */
  public long activeWithoutEmbeddingAndHead() {
    return activeWithoutEmbedding() - main.getOrDefault(Use.HEAD, 0L);
  }

  private static long sum(Map<Use, Long> counts) {
    return counts.values().stream().mapToLong(Long::longValue).sum();
  }

  private static int layerOf(String name) {
    return Integer.parseInt(name.split("\\.")[2]);
  }

  private static Use use(TensorShape shape) {
    String name = shape.name();
    if (shape.part() == Part.EXPERT) {
      return Use.ROUTED_EXPERTS;
    }
    if (shape.part() == Part.GATE) {
      return Use.GATES;
    }
    if (name.equals("model.embed_tokens.weight")) {
      return Use.EMBEDDING;
    }
    if (name.equals("lm_head.weight")) {
      return Use.HEAD;
    }
    if (name.contains(".self_attn.")) {
      return Use.ATTENTION;
    }
    if (name.contains(".shared_experts.")) {
      return Use.SHARED_EXPERTS;
    }
    if (name.contains(".mlp.")) {
      return Use.DENSE_FFN;
    }
    return name.contains(".eh_proj.") ? Use.MTP_JOINTS : Use.NORMS;
  }
}
