package io.sparkmoe.model;

import io.sparkmoe.parallel.ExpertPlacement;
import java.util.ArrayList;
import java.util.List;

/**
 * How a model's tensors lie in memory: which blocks there are, what each holds, and where the
 * tensors of Hugging Face's names are in it. {@link Parameters} allocates by it.
 *
 * <p>Legend: D model width, F FFN width, e local experts.
 */
final class ParameterLayout {

  private final ModelConfig config;
  private final ExpertPlacement placement;
  private final int rank;

  /**
   * @param rank whose experts the layout has
   */
  ParameterLayout(ModelConfig config, ExpertPlacement placement, int rank) {
    this.config = config;
    this.placement = placement;
    this.rank = rank;
  }

  /** One tensor to lay: shape of storage, and the Hugging Face views cut from it row by row. */
  record Item(String name, int[] shape, List<View> views) {}

  /** A Hugging Face tensor inside an item, in elements from its start. */
  record View(String name, int offset, int[] shape) {}

  /** One block of storage: its items lie one after the other. */
  record Plan(String name, Part part, boolean trained, List<Item> items) {}

  /** Every block of the model, in layer order; experts are the rank's own. */
  List<Plan> plans() {
    int d = config.hiddenSize();
    List<Plan> plans = new ArrayList<>();
    plans.add(
        replicated(
            "embed_tokens", List.of(whole("model.embed_tokens.weight", config.vocabSize(), d))));
    for (int layer = 0; layer < config.numLayers(); layer++) {
      plans.add(replicated("layers." + layer, layerItems(layer)));
      if (config.isMoe(layer)) {
        String mlp = Parameters.layerPrefix(layer) + "mlp.";
        plans.add(new Plan("layers." + layer + ".experts", Part.EXPERT, true, expertItems(mlp)));
        plans.add(
            new Plan(
                "layers." + layer + ".gate",
                Part.GATE,
                true,
                List.of(whole(Parameters.gateWeightName(layer), config.numRoutedExperts(), d))));
        plans.add(
            new Plan(
                "layers." + layer + ".selection_bias",
                Part.GATE,
                false,
                List.of(whole(Parameters.selectionBiasName(layer), config.numRoutedExperts()))));
      }
    }
    plans.add(
        replicated(
            "head",
            List.of(
                whole("model.norm.weight", d), whole("lm_head.weight", config.vocabSize(), d))));
    return plans;
  }

  private static Plan replicated(String name, List<Item> items) {
    return new Plan(name, Part.REPLICATED, true, items);
  }

  private List<Item> layerItems(int layer) {
    int d = config.hiddenSize();
    String prefix = Parameters.layerPrefix(layer);
    List<Item> items = new ArrayList<>();
    if (layer >= config.numHiddenLayers()) {
      items.add(whole(prefix + "enorm.weight", d));
      items.add(whole(prefix + "hnorm.weight", d));
      items.add(whole(prefix + "eh_proj.weight", d, 2 * d));
      items.add(whole(prefix + "shared_head.norm.weight", d));
    }
    items.add(whole(prefix + "input_layernorm.weight", d));
    items.add(whole(prefix + "post_attention_layernorm.weight", d));
    addAttention(items, prefix + "self_attn.");
    if (!config.isMoe(layer)) {
      addFfn(items, prefix + "mlp", config.intermediateSize());
    } else if (config.numSharedExperts() > 0) {
      addFfn(
          items,
          prefix + "mlp.shared_experts",
          config.numSharedExperts() * config.moeIntermediateSize());
    }
    return items;
  }

  private void addAttention(List<Item> items, String prefix) {
    int d = config.hiddenSize();
    int heads = config.numAttentionHeads();
    int queryWidth = heads * config.qkHeadDim();
    if (config.qLoraRank() > 0) {
      items.add(whole(prefix + "q_a_proj.weight", config.qLoraRank(), d));
      items.add(whole(prefix + "q_a_layernorm.weight", config.qLoraRank()));
      items.add(whole(prefix + "q_b_proj.weight", queryWidth, config.qLoraRank()));
    } else {
      items.add(whole(prefix + "q_proj.weight", queryWidth, d));
    }
    items.add(
        whole(
            prefix + "kv_a_proj_with_mqa.weight", config.kvLoraRank() + config.qkRopeHeadDim(), d));
    items.add(whole(prefix + "kv_a_layernorm.weight", config.kvLoraRank()));
    items.add(
        whole(
            prefix + "kv_b_proj.weight",
            heads * (config.qkNopeHeadDim() + config.vHeadDim()),
            config.kvLoraRank()));
    items.add(whole(prefix + "o_proj.weight", d, heads * config.vHeadDim()));
  }

  private void addFfn(List<Item> items, String prefix, int width) {
    int d = config.hiddenSize();
    items.add(
        new Item(
            prefix + ".gate_up_proj",
            new int[] {2 * width, d},
            List.of(
                new View(prefix + ".gate_proj.weight", 0, new int[] {width, d}),
                new View(prefix + ".up_proj.weight", width * d, new int[] {width, d}))));
    items.add(whole(prefix + ".down_proj.weight", d, width));
  }

  private List<Item> expertItems(String mlp) {
    int d = config.hiddenSize();
    int f = config.moeIntermediateSize();
    int first = placement.firstExpert(rank);
    int numLocal = placement.numLocalExperts(rank);
    List<View> gateUp = new ArrayList<>();
    List<View> down = new ArrayList<>();
    for (int local = 0; local < numLocal; local++) {
      String expert = mlp + "experts." + (first + local);
      gateUp.add(new View(expert + ".gate_proj.weight", local * 2 * f * d, new int[] {f, d}));
      gateUp.add(new View(expert + ".up_proj.weight", (local * 2 + 1) * f * d, new int[] {f, d}));
      down.add(new View(expert + ".down_proj.weight", local * d * f, new int[] {d, f}));
    }
    return List.of(
        new Item(mlp + "experts.gate_up_proj", new int[] {numLocal, 2 * f, d}, gateUp),
        new Item(mlp + "experts.down_proj", new int[] {numLocal, d, f}, down));
  }

  private static Item whole(String name, int... shape) {
    return new Item(name, shape, List.of(new View(name, 0, shape)));
  }

  /** Name, part and shape of every tensor of a model, without allocating any; experts come last. */
  static List<TensorShape> shapes(ModelConfig config) {
    List<TensorShape> shapes = new ArrayList<>();
    // One rank per expert keeps every rank's offsets small, whatever the model's size.
    int numExperts = config.numRoutedExperts();
    ExpertPlacement placement = new ExpertPlacement(numExperts, Math.max(1, numExperts));
    for (Plan plan : new ParameterLayout(config, placement, 0).plans()) {
      if (plan.part != Part.EXPERT) {
        plan.items.forEach(item -> addShapes(shapes, plan.part, item));
      }
    }
    for (int rank = 0; rank < numExperts; rank++) {
      ParameterLayout one = new ParameterLayout(config, placement, rank);
      for (int layer = config.firstKDenseReplace(); layer < config.numLayers(); layer++) {
        one.expertItems(Parameters.layerPrefix(layer) + "mlp.")
            .forEach(item -> addShapes(shapes, Part.EXPERT, item));
      }
    }
    return shapes;
  }

  private static void addShapes(List<TensorShape> shapes, Part part, Item item) {
    for (View view : item.views) {
      shapes.add(new TensorShape(view.name, part, view.shape));
    }
  }
}
