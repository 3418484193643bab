package io.sparkmoe.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.layer.Fp8Recipe;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a checkpoint's {@code state.json} says of the data that were seen, and what a run must have
 * in common with it to go on.
 */
public final class CheckpointState {

  private static final String TOKENIZER = "tokenizerSha256";
  private static final String DATASET = "datasetSha256";
  private static final String HELD_OUT = "heldOutShare";
  private static final String BATCH = "batchSequences";
  private static final String STEP = "step";
  private static final String TOKENS = "tokens";

  private CheckpointState() {}

  /**
   * All random numbers come from the seed and the name of what they are for, and rows from the
   * step, so the step is the whole cursor; the balance state is the selection biases, which lie
   * with the gates.
   *
   * @param step optimizer steps taken
   * @param tokens trained on in these steps, which may have had rows of several lengths
   * @param data what the run trains on
   */
  static ObjectNode of(RunConfig config, int step, long tokens, DataIdentity data) {
    ObjectNode state = JsonNodeFactory.instance.objectNode();
    state.put(STEP, step);
    state.put(TOKENS, tokens);
    state.put("nextRowPosition", (long) step * config.train().batchSequences());
    state.put(BATCH, config.train().batchSequences());
    state.put("seed", config.train().seed());
    state.put(TOKENIZER, data.tokenizerSha256());
    state.put(DATASET, data.descriptionSha256());
    state.put(HELD_OUT, data.heldOutShare());
    return state;
  }

  /**
   * Tokens that the checkpoint has been trained on. One from before they were counted is taken for
   * trained on rows of this run's length.
   */
  static long tokens(JsonNode state, TrainConfig train) {
    JsonNode tokens = state.path(TOKENS);
    return tokens.isIntegralNumber()
        ? tokens.longValue()
        : state.path(STEP).asLong() * train.tokensPerStep();
  }

  /**
   * Refuses a checkpoint that this run cannot go on from: another model, another tokenizer, another
   * batch (the data cursor counts steps of equal batches), another share of held-out rows (some
   * would be trained on), another precision (moments are stored as it has them), another way of
   * learning from a teacher, or one that has seen more steps.
   *
   * @param data what the run trains on
   * @return what a user should know of the comparison, one sentence each
   */
  static List<String> requireCompatible(
      CheckpointReader reader, RunConfig config, DataIdentity data) throws IOException {
    reader.requireModel(config.model());
    String where = "checkpoint " + reader.location();
    requireTokenizer(reader, data.tokenizerSha256());
    int batchThen = reader.state().path(BATCH).asInt();
    int batch = config.train().batchSequences();
    if (batchThen != batch) {
      throw new IllegalArgumentException(
          where
              + " was trained with train.batch_sequences="
              + batchThen
              + ", this run has "
              + batch
              + "; keep the batch size or start in another folder");
    }
    requireHeldOut(reader, data.heldOutShare());
    requirePrecision(reader, config.train().precision());
    List<String> notes = requireDistill(reader, config.distill());
    int steps = reader.manifest().step();
    if (steps > config.train().steps()) {
      throw new IllegalArgumentException(
          where
              + " has seen "
              + steps
              + " steps, train.steps is "
              + config.train().steps()
              + "; raise train.steps to train on");
    }
    notes.addAll(changedSettings(reader, config));
    notes.addAll(changedData(reader, data));
    return notes;
  }

  /** Checkpoints of earlier versions do not say what was held out. */
  private static void requireHeldOut(CheckpointReader reader, Double share) throws IOException {
    JsonNode then = reader.state().path(HELD_OUT);
    if (share != null && then.isNumber() && then.asDouble() != share) {
      throw new IllegalArgumentException(
          "checkpoint "
              + reader.location()
              + " was trained with --validation "
              + then.asText()
              + ", this run has "
              + share
              + ", expected the same rows to be held out; give --validation "
              + then.asText()
              + " or start in another folder");
    }
  }

  /**
   * A run may go on with other rows, such as the corpus of a new day.
   *
   * @return one sentence if it does, or none
   */
  private static List<String> changedData(CheckpointReader reader, DataIdentity data)
      throws IOException {
    String then = reader.state().path(DATASET).asText(null);
    String now = data.descriptionSha256();
    return then == null || now == null || then.equals(now)
        ? List.of()
        : List.of(
            "data changed since the checkpoint: its description had SHA-256 "
                + then
                + ", has "
                + now
                + "; the next rows come from the new data, in its own order");
  }

  /**
   * Settings that a run may change when it goes on, such as the learning rate, the seed or the
   * wires; it then ends with other bits than an unbroken one.
   *
   * @return one sentence that names them all, or none
   */
  private static List<String> changedSettings(CheckpointReader reader, RunConfig config) {
    List<String> changes = new ArrayList<>();
    JsonNode then = reader.manifest().config();
    JsonNode now = RunConfigJson.toJson(config);
    for (String section : List.of(RunConfigJson.TRAIN, RunConfigJson.CLUSTER)) {
      for (Map.Entry<String, JsonNode> key : now.path(section).properties()) {
        JsonNode stored = then.path(section).path(key.getKey());
        if (!stored.isMissingNode() && !same(stored, key.getValue())) {
          changes.add(
              section
                  + "."
                  + key.getKey()
                  + " was "
                  + stored.asText()
                  + ", is "
                  + key.getValue().asText());
        }
      }
    }
    return changes.isEmpty()
        ? List.of()
        : List.of("settings changed since the checkpoint: " + String.join("; ", changes));
  }

  /** A key that the checkpoint's program did not know yet counts as its default. */
  private static List<String> requireDistill(CheckpointReader reader, DistillConfig distill) {
    JsonNode then = reader.manifest().config().path(RunConfigJson.DISTILL);
    ObjectNode defaults = RunConfigJson.toJson(DistillConfig.defaults());
    List<String> notes = new ArrayList<>();
    for (Map.Entry<String, JsonNode> key : RunConfigJson.toJson(distill).properties()) {
      String name = RunConfigJson.DISTILL + "." + key.getKey();
      JsonNode stored = then.path(key.getKey());
      if (stored.isMissingNode()) {
        stored = defaults.get(key.getKey());
        notes.add(
            "checkpoint "
                + reader.location()
                + " does not say "
                + name
                + ", which counts as its default "
                + stored.asText());
      }
      if (!same(stored, key.getValue())) {
        throw new IllegalArgumentException(
            "checkpoint "
                + reader.location()
                + " was trained with "
                + name
                + "="
                + stored.asText()
                + ", this run has "
                + key.getValue().asText()
                + "; set "
                + name
                + "="
                + stored.asText()
                + " or start in another folder");
      }
    }
    return notes;
  }

  /** As a person would write them: a number that was read may be of another width. */
  private static boolean same(JsonNode stored, JsonNode now) {
    return stored.asText().equals(now.asText());
  }

  private static void requirePrecision(CheckpointReader reader, Precision precision) {
    Precision then = precision(reader);
    if (then != precision) {
      throw new IllegalArgumentException(
          "checkpoint "
              + reader.location()
              + " was trained with train.precision="
              + lower(then)
              + ", this run has "
              + lower(precision)
              + "; set train.precision="
              + lower(then)
              + " or start in another folder");
    }
  }

  /** Number format that the checkpoint was trained in. */
  public static Precision precision(CheckpointReader reader) {
    return choice(reader, "precision", Precision.FP32);
  }

  /** What training in FP8 rounded how. */
  public static Fp8Recipe recipe(CheckpointReader reader) {
    return choice(reader, "fp8_recipe", Fp8Recipe.DEEPSEEK);
  }

  /** A key of the checkpoint's {@code train:}; checkpoints from before there was one lack it. */
  private static <E extends Enum<E>> E choice(CheckpointReader reader, String key, E absent) {
    String name =
        reader.manifest().config().path(RunConfigJson.TRAIN).path(key).asText(lower(absent));
    return Enum.valueOf(absent.getDeclaringClass(), name.toUpperCase(Locale.ROOT));
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  /**
   * Refuses a checkpoint whose model was trained on ids of another tokenizer.
   *
   * @param tokenizerSha256 tokenizer of the dataset, null = do not care
   */
  public static void requireTokenizer(CheckpointReader reader, String tokenizerSha256)
      throws IOException {
    String then = reader.state().path(TOKENIZER).asText(null);
    if (tokenizerSha256 != null && then != null && !then.equals(tokenizerSha256)) {
      throw new IllegalArgumentException(
          "checkpoint "
              + reader.location()
              + " was trained on data of the tokenizer with SHA-256 "
              + then
              + ", this dataset's is "
              + tokenizerSha256
              + "; prepare the data with the run's tokenizer.json");
    }
  }
}
