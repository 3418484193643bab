package io.sparkmoe.train;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.LossScales;
import io.sparkmoe.model.Losses;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.RoutingListener;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * How far FP8 turns the gradients of a checkpoint: the gradients of one batch in FP32 and in FP8,
 * on the same weights, compared by kind of parameter.
 */
public final class GradientComparison {

  private GradientComparison() {}

  /**
   * The comparison of all tensors of one kind, taken as one vector each.
   *
   * @param elements length of the vector
   * @param cosine of the angle between the two gradients
   * @param cosineOfSameExperts the same when FP8 routes every token as FP32 does
   * @param normRatio length of FP8's gradient over that of FP32's
   */
  public record Kind(long elements, double cosine, double cosineOfSameExperts, double normRatio) {}

  /**
   * @param kinds by the parameters' name without numbers of layers and experts
   * @param fp32Loss mean next-token loss of the batch in FP32
   * @param fp8Loss the same in FP8
   * @param sameExperts share of the experts' choices that are the same in both, over all layers
   */
  public record Result(
      Map<String, Kind> kinds, double fp32Loss, double fp8Loss, double sameExperts) {}

  /** Dot products of two gradients, added up over tensors. */
  private static final class Sums {
    private long elements;
    private double dot;
    private double fp32;
    private double fp8;

    void add(float[] a, Tensor b) {
      for (int i = 0; i < a.length; i++) {
        double y = b.getFloat(i);
        dot += a[i] * y;
        fp32 += (double) a[i] * a[i];
        fp8 += y * y;
      }
      elements += a.length;
    }

    double cosine() {
      return dot / Math.sqrt(fp32 * fp8);
    }

    double normRatio() {
      return Math.sqrt(fp8 / fp32);
    }
  }

  /** The experts of every token in a layer, ascending within a token. */
  private record Choices(int[] ids, int topK) {

    /** Choices that the other has too. */
    long common(Choices other) {
      long common = 0;
      for (int start = 0; start < ids.length; start += topK) {
        int[] theirs = Arrays.copyOfRange(other.ids, start, start + topK);
        for (int i = start; i < start + topK; i++) {
          common += Arrays.binarySearch(theirs, ids[i]) >= 0 ? 1 : 0;
        }
      }
      return common;
    }
  }

  /** One pass in one precision; choices by layer. */
  private record Pass(Losses losses, Map<Integer, Choices> choices) {}

  /**
   * Computes both gradients.
   *
   * @param rows the batch
   * @param seqLen inputs of a row
   * @param memoryLimitBytes off-heap bytes that may be used
   */
  public static Result of(
      CheckpointReader checkpoint,
      List<TokenRow> rows,
      int seqLen,
      Fp8Recipe recipe,
      int threads,
      long memoryLimitBytes)
      throws IOException {
    JsonNode train = checkpoint.manifest().config().path("train");
    try (CheckpointModel model = new CheckpointModel(checkpoint, true, threads, memoryLimitBytes);
        Scope scope = model.arena().scope()) {
      Parameters parameters = model.parameters();
      int modules = parameters.config().numMtpModules();
      BatchAssembler assembler = new BatchAssembler(seqLen, modules);
      TokenBatch batch = assembler.assemble(rows, scope);
      long[] targets = assembler.countTargets(rows);
      LossScales scales =
          LossScales.ofMeans(
              targets[0],
              Arrays.copyOfRange(targets, 1, targets.length),
              rows.size(),
              train.path("mtp_loss_weight").asDouble(),
              train.path("balance_loss_alpha").asDouble());
      Pass fp32 = pass(model, model.language(Precision.FP32, recipe), batch, scales);
      Map<String, float[]> gradients = new HashMap<>();
      for (Parameter parameter : trained(parameters)) {
        gradients.put(parameter.name(), parameter.gradient().toFloatArray());
      }
      parameters.zeroGradients();
      Pass fp8 = pass(model, model.language(Precision.FP8, recipe), batch, scales);
      Map<String, Sums> free = sums(parameters, gradients);
      parameters.zeroGradients();
      List<int[]> choices = fp32.choices.values().stream().map(Choices::ids).toList();
      model
          .language(Precision.FP8, recipe, new ReplayedChoices(choices)::over)
          .train(1, 2, batch, scales, model.arena());
      Map<String, Sums> routed = sums(parameters, gradients);
      Map<String, Kind> kinds = new TreeMap<>();
      free.forEach(
          (name, sum) ->
              kinds.put(
                  name,
                  new Kind(
                      sum.elements, sum.cosine(), routed.get(name).cosine(), sum.normRatio())));
      return new Result(kinds, meanLoss(fp32.losses), meanLoss(fp8.losses), sameExperts(fp32, fp8));
    }
  }

  /** Compares the gradients that there are with those of FP32, by kind. */
  private static Map<String, Sums> sums(Parameters parameters, Map<String, float[]> fp32) {
    Map<String, Sums> sums = new TreeMap<>();
    for (Parameter parameter : trained(parameters)) {
      sums.computeIfAbsent(kindOf(parameter.name()), kind -> new Sums())
          .add(fp32.get(parameter.name()), parameter.gradient());
    }
    return sums;
  }

  private static List<Parameter> trained(Parameters parameters) {
    return parameters.all().stream().filter(parameter -> parameter.gradient() != null).toList();
  }

  /** Gradients, and the experts chosen, which only an evaluation tells. */
  private static Pass pass(
      CheckpointModel model, LanguageModel language, TokenBatch batch, LossScales scales) {
    Map<Integer, Choices> choices = new TreeMap<>();
    RoutingListener listener =
        (layer, routing, tokens) ->
            choices.put(layer, new Choices(routing.ids().toIntArray(), routing.ids().cols()));
    language.evaluate(1, 0, batch, model.arena(), listener);
    return new Pass(language.train(1, 1, batch, scales, model.arena()), choices);
  }

  /** The name without numbers of layers and experts. */
  static String kindOf(String name) {
    return name.replaceFirst("^model\\.", "")
        .replaceFirst("^layers\\.\\d+\\.", "")
        .replaceFirst("experts\\.\\d+\\.", "experts.")
        .replaceFirst("\\.weight$", "");
  }

  private static double meanLoss(Losses losses) {
    return losses.mainSum() / losses.mainCount();
  }

  private static double sameExperts(Pass a, Pass b) {
    long common = 0;
    long all = 0;
    for (Map.Entry<Integer, Choices> layer : a.choices.entrySet()) {
      all += layer.getValue().ids.length;
      common += layer.getValue().common(b.choices.get(layer.getKey()));
    }
    return all == 0 ? 1 : (double) common / all;
  }
}
