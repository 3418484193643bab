package io.sparkmoe.spark.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.FileEntry;
import io.sparkmoe.checkpoint.Manifest;
import io.sparkmoe.config.ConfigKey;
import io.sparkmoe.config.ConfigKeys;
import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.ConfigValue.Layer;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.config.WireVolume;
import io.sparkmoe.model.ParameterCount;
import io.sparkmoe.model.ParameterCount.Use;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.ResidentMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunConfigJson;
import io.sparkmoe.train.TrainConfig;
import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What {@code moe inspect} says of a configuration or checkpoint, as JSON and as text.
 *
 * @param source what was inspected, in words
 * @param config its configuration
 * @param executors P of the footprint
 * @param checkpoint its manifest, null for a configuration
 * @param verified whether every file's checksum was compared
 */
record Inspection(
    String source, RunConfig config, int executors, Manifest checkpoint, boolean verified) {

  private static final Logger LOG = LoggerFactory.getLogger(Inspection.class);

  ObjectNode toJson() {
    ParameterCount count = ParameterCount.of(config.model());
    WireVolume volume = WireVolume.of(config, Math.max(1, executors));
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.put("source", source);
    ObjectNode parameters = root.putObject("parameters");
    parameters.put("total", count.total());
    parameters.put("routed", count.routed());
    parameters.put("nonRouted", count.nonRouted());
    parameters.put("routedShare", count.routed() / (double) count.total());
    ObjectNode active = parameters.putObject("active");
    active.put("withEmbeddingAndHead", count.active());
    active.put("withHead", count.activeWithoutEmbedding());
    active.put("withNeither", count.activeWithoutEmbeddingAndHead());
    parameters.put("mtp", count.mtpTotal());
    addUses(parameters.putObject("byPart"), count.main());
    addUses(parameters.putObject("mtpByPart"), count.mtp());
    ObjectNode memory = root.putObject("memoryBytes");
    memory.put("executors", executors);
    RankMemory rank = RankMemory.ofRank(config, executors);
    ResidentMemory executor = ResidentMemory.executor(config, executors);
    memory.put("weights", rank.weightBytes());
    memory.put("gradients", rank.gradientBytes());
    memory.put("optimizer", rank.momentBytes());
    memory.put("executorTotal", rank.stateBytes());
    memory.put("driverGates", RankMemory.ofDriver(config, executors).stateBytes());
    memory.put("operands", rank.operandBytes());
    memory.put("reduction", rank.reductionBytes());
    memory.put("activations", rank.passBytes());
    memory.put("heap", executor.heapBytes());
    memory.put("wireBuffers", executor.wireBytes());
    memory.put("runtime", executor.runtimeBytes());
    memory.put("executorResident", executor.bytes());
    memory.put("localResident", ResidentMemory.local(config.forLocalEngine()).bytes());
    ObjectNode wire = root.putObject("wireBytes");
    wire.put("expertsPerToken", Math.round(volume.expertBytesPerToken()));
    wire.put("gatePerToken", volume.gateBytesPerToken());
    wire.put("gradientsPerExecutorAndStep", Math.round(volume.gradientBytesPerStep()));
    if (checkpoint != null) {
      addCheckpoint(root.putObject("checkpoint"));
    }
    root.set("config", RunConfigJson.toJson(config));
    return root;
  }

  String toText() {
    ParameterCount count = ParameterCount.of(config.model());
    WireVolume volume = WireVolume.of(config, Math.max(1, executors));
    StringBuilder text = new StringBuilder(source).append("\n\nparameters\n");
    line(text, "total", count.total(), "main model");
    line(
        text,
        "routed experts",
        count.routed(),
        percent(count.routed(), count.total()) + " of total");
    line(text, "not routed", count.nonRouted(), "on every executor, gates on the driver");
    line(text, "active", count.active(), "per token, with embedding and head");
    line(text, "", count.activeWithoutEmbedding(), "with head only");
    line(text, "", count.activeWithoutEmbeddingAndHead(), "with neither");
    line(text, "MTP modules", count.mtpTotal(), "besides, sharing embedding and head");
    text.append("\nby part\n");
    for (Use use : Use.values()) {
      long main = count.main().getOrDefault(use, 0L);
      long mtp = count.mtp().getOrDefault(use, 0L);
      if (main + mtp > 0) {
        line(
            text,
            use.label(),
            main,
            mtp == 0 ? "" : String.format(Locale.ROOT, "+ %,d in MTP", mtp));
      }
    }
    TrainConfig train = config.train();
    text.append(
        String.format(
            Locale.ROOT,
            "%nmemory of one of %d executors, %d sequences of %d tokens a step%n",
            executors,
            train.batchSequences(),
            train.seqLen()));
    RankMemory rank = RankMemory.ofRank(config, executors);
    ResidentMemory executor = ResidentMemory.executor(config, executors);
    line(text, "weights", rank.weightBytes(), "bytes, FP32");
    line(text, "gradients", rank.gradientBytes(), "bytes, FP32");
    line(text, "optimizer", rank.momentBytes(), "bytes, two moments");
    if (rank.operandBytes() > 0) {
      line(text, "operands", rank.operandBytes(), "bytes, weights as products read them");
    }
    line(text, "reduction", rank.reductionBytes(), "bytes, what rounding of gradients lost");
    line(text, "activations", rank.passBytes(), "bytes, and scratch of a pass");
    line(text, "heap", executor.heapBytes(), "bytes");
    line(text, "wire buffers", executor.wireBytes(), "bytes");
    line(text, "runtime", executor.runtimeBytes(), "bytes: compiler, classes, libraries");
    line(text, "resident", executor.bytes(), "bytes, all of the above");
    line(
        text,
        "local engine",
        ResidentMemory.local(config.forLocalEngine()).bytes(),
        "bytes resident, all in one process");
    text.append("\nbytes on the wire, expected under even routing\n");
    line(
        text,
        "experts",
        Math.round(volume.expertBytesPerToken()),
        "per token, both ways, forward and backward");
    line(text, "gate", volume.gateBytesPerToken(), "per token, to the driver and back");
    line(text, "gradients", Math.round(volume.gradientBytesPerStep()), "per executor and step");
    if (checkpoint != null) {
      appendCheckpoint(text);
    }
    return text.toString();
  }

  private void addCheckpoint(ObjectNode node) {
    node.put("step", checkpoint.step());
    node.put("numRanks", checkpoint.numRanks());
    node.put("gemmBackend", checkpoint.gemmBackend());
    node.put("weightsSha256", checkpoint.weightsSha256());
    node.put("sizeBytes", sizeBytes());
    node.put("verified", verified);
    ArrayNode files = node.putArray("files");
    for (FileEntry file : checkpoint.files()) {
      files
          .addObject()
          .put("name", file.name())
          .put("sizeBytes", file.sizeBytes())
          .put("sha256", file.sha256());
    }
  }

  private void appendCheckpoint(StringBuilder text) {
    text.append(
        String.format(
            Locale.ROOT,
            "%ncheckpoint of step %,d, written by %d ranks with %s GEMM%n",
            checkpoint.step(),
            checkpoint.numRanks(),
            checkpoint.gemmBackend()));
    if (checkpoint.weightsSha256() != null) {
      text.append("  weights SHA-256 ").append(checkpoint.weightsSha256()).append('\n');
    }
    for (FileEntry file : checkpoint.files()) {
      text.append(String.format(Locale.ROOT, "  %,15d  %s%n", file.sizeBytes(), file.name()));
    }
    line(
        text,
        "together",
        sizeBytes(),
        "bytes, " + (verified ? "every checksum matches" : "--verify checks them"));
  }

  private long sizeBytes() {
    return checkpoint.files().stream().mapToLong(FileEntry::sizeBytes).sum();
  }

  private static void addUses(ObjectNode node, Map<Use, Long> counts) {
    counts.forEach((use, number) -> node.put(use.label(), number));
  }

  private static void line(StringBuilder text, String label, long number, String remark) {
    text.append(
            String.format(Locale.ROOT, "  %-16s %,19d  %s", label, number, remark).stripTrailing())
        .append('\n');
  }

  private static String percent(long part, long whole) {
    return String.format(Locale.ROOT, "%.2f %%", 100.0 * part / whole);
  }

  /** Opens for inspection; {@code verify} compares every checksum. */
  static Inspection of(CheckpointReader reader, int executors, boolean verify) throws IOException {
    if (verify) {
      reader.verify();
    }
    RunConfig config = config(reader);
    int ranks = executors == 0 ? reader.manifest().numRanks() : executors;
    return new Inspection(
        "checkpoint " + reader.location(), config, ranks, reader.manifest(), verify);
  }

  /** A key that the checkpoint's program did not know yet counts as its default. */
  private static RunConfig config(CheckpointReader reader) {
    String where = "checkpoint " + reader.location();
    ResolvedConfig stored =
        new ConfigResolver().file(where, reader.manifest().config().toString()).resolve();
    for (ConfigKey key : ConfigKeys.all()) {
      stored
          .value(key.fullName())
          .filter(value -> value.layer() == Layer.DEFAULT)
          .ifPresent(
              value ->
                  LOG.info(
                      "{} does not say {}, which counts as its default {}",
                      where,
                      key.fullName(),
                      value.value()));
    }
    return stored.toRunConfig();
  }
}
