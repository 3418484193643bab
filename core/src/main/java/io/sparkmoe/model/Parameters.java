package io.sparkmoe.model;

import io.sparkmoe.kernel.Weight;
import io.sparkmoe.model.ParameterBlock.Segment;
import io.sparkmoe.model.ParameterLayout.Item;
import io.sparkmoe.model.ParameterLayout.Plan;
import io.sparkmoe.model.ParameterLayout.View;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * The weights that one end holds: replicated ones and its own experts on a rank, the gates on the
 * driver (and on ranks that evaluate them). Storage is by {@link ParameterBlock}; Hugging Face's
 * tensors are views of it. gate_proj and up_proj of an FFN lie one after the other, so one product
 * computes both.
 *
 * <p>Legend: D model width, F FFN width, e local experts.
 */
public final class Parameters implements AutoCloseable {

  private static final String SELECTION_BIAS = "mlp.gate.e_score_correction_bias";

  private final List<ParameterBlock> blocks = new ArrayList<>();
  private final Map<String, Parameter> byName = new LinkedHashMap<>();
  private final Map<String, Weight> weights = new LinkedHashMap<>();
  private final List<Tensor> owned = new ArrayList<>();
  private final ModelConfig config;
  private final ExpertPlacement placement;

  private Parameters(ModelConfig config, ExpertPlacement placement) {
    this.config = config;
    this.placement = placement;
  }

  /**
   * Allocates zeroed weights.
   *
   * @param rank whose experts to hold; ignored without {@link Part#EXPERT}
   * @param parts which parts to hold
   * @param type F32, or F64 for gradient checks
   * @param withGradients whether gradients are held too
   */
  public static Parameters allocate(
      ModelConfig config,
      ExpertPlacement placement,
      int rank,
      Set<Part> parts,
      DType type,
      boolean withGradients,
      Arena arena) {
    Parameters parameters = new Parameters(config, placement);
    try {
      for (Plan plan : new ParameterLayout(config, placement, rank).plans()) {
        if (parts.contains(plan.part())) {
          parameters.lay(plan, type, withGradients, arena);
        }
      }
    } catch (RuntimeException e) {
      parameters.close();
      throw e;
    }
    return parameters;
  }

  /** All parts on one end, with gradients: the single-process model. */
  public static Parameters allocateAll(ModelConfig config, DType type, Arena arena) {
    return allocate(
        config,
        new ExpertPlacement(config.numRoutedExperts(), 1),
        0,
        EnumSet.allOf(Part.class),
        type,
        true,
        arena);
  }

  /** Shape of the model. */
  public ModelConfig config() {
    return config;
  }

  /** Which rank owns which expert. */
  public ExpertPlacement placement() {
    return placement;
  }

  /** Every parameter held here, by Hugging Face name, in layer order. */
  public Collection<Parameter> all() {
    return Collections.unmodifiableCollection(byName.values());
  }

  /** The parameter of that Hugging Face name, or null when this end does not hold it. */
  public Parameter find(String name) {
    return byName.get(name);
  }

  /** Blocks with gradients to reduce or optimize, of one part, in layer order. */
  public List<ParameterBlock> blocks(Part part) {
    return blocks.stream().filter(block -> block.part() == part).toList();
  }

  /**
   * A weight by its name in the model: Hugging Face's, or a packed one. Packed are "P.gate_up_proj"
   * (2F, D) for a dense FFN or shared expert P, "model.layers.N.mlp.experts.gate_up_proj" (e, 2F,
   * D) and ".down_proj" (e, D, F) for the local experts of a layer, and "P.kv_a_proj" and
   * "P.k_rope_proj", the two parts of kv_a_proj_with_mqa by rows.
   */
  public Weight weight(String name) {
    Weight weight = weights.get(name);
    if (weight == null) {
      throw new IllegalStateException("no weight named " + name + " on this end");
    }
    return weight;
  }

  /**
   * Draws matrices from a normal distribution with {@code initializer_range} as deviation, sets
   * norms to one and selection biases to zero. Each tensor has its own random stream from the seed
   * and its name, so values do not depend on who holds it.
   */
  public void initialize(long seed) {
    byName.values().parallelStream()
        .forEach(
            parameter -> {
              Tensor value = parameter.value();
              if (value.numDims() > 1) {
                SplittableRandom random = new SplittableRandom(seed ^ streamOf(parameter.name()));
                for (int i = 0; i < value.size(); i++) {
                  value.set(i, random.nextGaussian() * config.initializerRange());
                }
              } else {
                double constant = isSelectionBias(parameter.name()) ? 0 : 1;
                for (int i = 0; i < value.size(); i++) {
                  value.set(i, constant);
                }
              }
            });
  }

  /** Sets every gradient to zero. */
  public void zeroGradients() {
    for (ParameterBlock block : blocks) {
      if (block.gradient() != null) {
        block.gradient().zero();
      }
    }
  }

  /** Name, part and shape of every tensor of a model, without allocating any; experts come last. */
  public static List<TensorShape> shapes(ModelConfig config) {
    return ParameterLayout.shapes(config);
  }

  /** Elements of all tensors of some parts, MTP modules included, over all ranks together. */
  public static long numElements(ModelConfig config, Set<Part> parts) {
    return shapes(config).stream()
        .filter(shape -> parts.contains(shape.part()))
        .mapToLong(TensorShape::numElements)
        .sum();
  }

  /** Prefix of a layer's names. */
  public static String layerPrefix(int layer) {
    return "model.layers." + layer + ".";
  }

  /** Name of a layer's gate weight, (E, D). */
  public static String gateWeightName(int layer) {
    return layerPrefix(layer) + "mlp.gate.weight";
  }

  /** Name of a layer's selection bias, (E). */
  public static String selectionBiasName(int layer) {
    return layerPrefix(layer) + SELECTION_BIAS;
  }

  /** Whether a tensor is a selection bias, which is balanced and not trained. */
  public static boolean isSelectionBias(String name) {
    return name.endsWith(SELECTION_BIAS);
  }

  @Override
  public void close() {
    owned.forEach(Tensor::close);
    owned.clear();
  }

  private static long streamOf(String name) {
    long hash = 0xcbf29ce484222325L;
    for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
      hash = (hash ^ (b & 0xFF)) * 0x100000001b3L;
    }
    return hash;
  }

  private static int sizeOf(int[] shape) {
    int product = 1;
    for (int length : shape) {
      product = Math.multiplyExact(product, length);
    }
    return product;
  }

  private void lay(Plan plan, DType type, boolean withGradients, Arena arena) {
    int total = 0;
    for (Item item : plan.items()) {
      total = Math.addExact(total, sizeOf(item.shape()));
    }
    Tensor value = own(arena.zeros(type, total));
    Tensor gradient = withGradients && plan.trained() ? own(arena.zeros(type, total)) : null;
    List<Segment> segments = new ArrayList<>();
    int offset = 0;
    for (Item item : plan.items()) {
      int size = sizeOf(item.shape());
      weights.put(item.name(), weightAt(value, gradient, offset, item.shape()));
      for (View view : item.views()) {
        int start = offset + view.offset();
        byName.put(
            view.name(),
            new Parameter(
                view.name(),
                plan.part(),
                value.view(start, view.shape()),
                gradient == null ? null : gradient.view(start, view.shape())));
      }
      if (item.name().endsWith("kv_a_proj_with_mqa.weight")) {
        addLatentAndRope(item, value, gradient, offset);
      }
      segments.add(new Segment(offset, size, item.shape().length > 1));
      offset += size;
    }
    if (plan.trained()) {
      blocks.add(
          new ParameterBlock(
              plan.name(), plan.part(), value, gradient, ParameterBlock.merge(segments)));
    }
  }

  /**
   * The rows of kv_a_proj_with_mqa that make the compressed vector, and those that make the rotary
   * key.
   */
  private void addLatentAndRope(Item item, Tensor value, Tensor gradient, int offset) {
    int d = config.hiddenSize();
    String prefix =
        item.name().substring(0, item.name().length() - "kv_a_proj_with_mqa.weight".length());
    int latent = config.kvLoraRank();
    int rope = config.qkRopeHeadDim();
    weights.put(prefix + "kv_a_proj", weightAt(value, gradient, offset, latent, d));
    weights.put(prefix + "k_rope_proj", weightAt(value, gradient, offset + latent * d, rope, d));
  }

  private static Weight weightAt(Tensor value, Tensor gradient, int offset, int... shape) {
    return new Weight(
        value.view(offset, shape), gradient == null ? null : gradient.view(offset, shape));
  }

  private Tensor own(Tensor tensor) {
    owned.add(tensor);
    return tensor;
  }
}
