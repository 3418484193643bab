package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.Sha256;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.model.TensorShape;
import io.sparkmoe.tensor.Elements;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * Writes one checkpoint from several ends: every rank its experts, rank 0 the replicated part, the
 * driver the gates and, when all have told it what they wrote, the {@link #commit}. Each end has
 * its own writer over the same folder. Tensors lie in a file by name, so that reading all of a
 * checkpoint in name order goes through every file once.
 *
 * <p>Layout of the folder: {@code model/*.safetensors} with Hugging Face's names, {@code
 * model/model.safetensors.index.json} and {@code model/config.json}; {@code
 * optimizer/*.safetensors} with {@code NAME.exp_avg} and {@code NAME.exp_avg_sq}; {@code
 * state.json}; {@code manifest.json}.
 */
public final class CheckpointWriter {

  static final String MODEL = "model/";
  static final String OPTIMIZER_FOLDER = "optimizer";
  static final String OPTIMIZER = OPTIMIZER_FOLDER + "/";
  static final String MODEL_CONFIG = MODEL + "config.json";
  static final String MODEL_INDEX = MODEL + "model.safetensors.index.json";
  static final String STATE = "state.json";
  static final String SAFETENSORS = ".safetensors";
  static final String FIRST_MOMENT = ".exp_avg";
  static final String SECOND_MOMENT = ".exp_avg_sq";
  static final String RESIDUAL = OPTIMIZER + "residual-";

  private static final ObjectMapper JSON = new ObjectMapper();

  private final Store store;
  private final String folder;
  private final int step;

  CheckpointWriter(Store store, String folder, int step) {
    this.store = store;
    this.folder = folder;
    this.step = step;
  }

  /**
   * What the driver knows of the run that it commits.
   *
   * @param model shape of the model
   * @param config resolved config of the whole run
   * @param state data cursor, random state, balance state
   * @param numRanks ranks that wrote
   * @param gemmBackend matrix library in use
   * @param digestWeights whether to read the weights again and store their {@link WeightsDigest}
   */
  public record RunState(
      ModelConfig model,
      JsonNode config,
      JsonNode state,
      int numRanks,
      String gemmBackend,
      boolean digestWeights) {}

  /** Writes a rank's experts and their moments. */
  public List<FileEntry> writeExperts(int rank, int numRanks, Parameters weights, Moments moments)
      throws IOException {
    String name = String.format(Locale.ROOT, "experts-%05d-of-%05d", rank, numRanks);
    return writePart(name, Part.EXPERT, weights, moments);
  }

  /** Writes what every rank holds and its moments; for one rank only. */
  public List<FileEntry> writeReplicated(Parameters weights, Moments moments) throws IOException {
    return writePart("replicated", Part.REPLICATED, weights, moments);
  }

  /** Writes the gates, their selection biases, and the moments of the gates. */
  public List<FileEntry> writeGates(Parameters weights, Moments moments) throws IOException {
    return writePart("gates", Part.GATE, weights, moments);
  }

  /**
   * Writes what a rank carries over to its next gradient reduction.
   *
   * @param residuals by any name; read back by the same rank of as many
   */
  public FileEntry writeResidual(int rank, Map<String, Tensor> residuals) throws IOException {
    return write(residualFile(rank), new TreeMap<>(residuals));
  }

  /**
   * Makes the files a checkpoint: checks that all are there and that they hold every tensor of the
   * model exactly once, writes Hugging Face's index and config, the state, and last the manifest.
   *
   * @param files what all ends have written
   */
  public void commit(RunState run, List<FileEntry> files) throws IOException {
    List<FileEntry> all = new ArrayList<>(files);
    for (FileEntry file : files) {
      requireWritten(file);
    }
    all.add(writeText(MODEL_CONFIG, HuggingFaceConfig.toJson(run.model)));
    all.add(writeText(MODEL_INDEX, modelIndex(run.model, files)));
    all.add(writeText(STATE, run.state));
    all.sort(Comparator.comparing(FileEntry::name));
    Manifest manifest = manifest(run, null, all);
    if (run.digestWeights) {
      try (CheckpointReader written = new CheckpointReader(store, folder, manifest)) {
        manifest = manifest(run, WeightsDigest.of(written), all);
      }
    }
    store.writeText(CheckpointStore.join(folder, Manifest.FILE), manifest.toText());
  }

  static String residualFile(int rank) {
    return String.format(Locale.ROOT, "%s%05d%s", RESIDUAL, rank, SAFETENSORS);
  }

  private Manifest manifest(RunState run, String weightsSha256, List<FileEntry> files) {
    return new Manifest(
        Manifest.FORMAT_VERSION,
        step,
        run.numRanks,
        run.gemmBackend,
        weightsSha256,
        run.config,
        files);
  }

  private List<FileEntry> writePart(String name, Part part, Parameters weights, Moments moments)
      throws IOException {
    Map<String, Tensor> values = new TreeMap<>();
    Map<String, Elements> trained = new TreeMap<>();
    for (Parameter parameter : weights.all()) {
      if (parameter.part() == part) {
        values.put(parameter.name(), parameter.value());
        if (parameter.gradient() != null) {
          trained.put(parameter.name() + FIRST_MOMENT, moments.first().get(parameter.name()));
          trained.put(parameter.name() + SECOND_MOMENT, moments.second().get(parameter.name()));
        }
      }
    }
    return List.of(
        write(MODEL + name + SAFETENSORS, values), write(OPTIMIZER + name + SAFETENSORS, trained));
  }

  private FileEntry write(String name, Map<String, ? extends Elements> tensors) throws IOException {
    FileEntry written = SafetensorsWriter.write(store, CheckpointStore.join(folder, name), tensors);
    return new FileEntry(name, written.sizeBytes(), written.sha256());
  }

  private FileEntry writeText(String name, JsonNode content) throws IOException {
    String text = JSON.writerWithDefaultPrettyPrinter().writeValueAsString(content) + "\n";
    store.writeText(CheckpointStore.join(folder, name), text);
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return new FileEntry(name, bytes.length, Sha256.hex(bytes));
  }

  private void requireWritten(FileEntry file) throws IOException {
    String path = CheckpointStore.join(folder, file.name());
    long actual = store.exists(path) ? store.size(path) : -1;
    if (actual != file.sizeBytes()) {
      throw new IOException(
          store.describe(path)
              + " was reported written with "
              + file.sizeBytes()
              + " bytes, the driver sees "
              + (actual < 0 ? "no such file" : actual + " bytes")
              + "; the folder must be shared by all executors and the driver");
    }
  }

  private ObjectNode modelIndex(ModelConfig model, List<FileEntry> files) throws IOException {
    Map<String, TensorShape> missing = new HashMap<>();
    Parameters.shapes(model).forEach(shape -> missing.put(shape.name(), shape));
    Map<String, String> fileOf = new TreeMap<>();
    long totalBytes = 0;
    for (FileEntry file : files) {
      if (!file.name().startsWith(MODEL)) {
        continue;
      }
      String path = CheckpointStore.join(folder, file.name());
      try (SafetensorsReader reader = SafetensorsReader.open(store, path)) {
        for (String name : reader.names()) {
          if (missing.remove(name) == null) {
            throw new IllegalStateException(
                "tensor "
                    + name
                    + " of "
                    + file.name()
                    + " is written twice or no part of the model");
          }
          fileOf.put(name, file.name().substring(MODEL.length()));
          totalBytes += reader.info(name).sizeBytes();
        }
      }
    }
    if (!missing.isEmpty()) {
      throw new IllegalStateException(
          "checkpoint of step "
              + step
              + " lacks "
              + missing.size()
              + " tensors such as "
              + missing.keySet().iterator().next()
              + "; every rank must write its experts, rank 0 the replicated part");
    }
    ObjectNode index = JSON.createObjectNode();
    index.putObject("metadata").put("total_size", totalBytes);
    ObjectNode map = index.putObject("weight_map");
    fileOf.forEach(map::put);
    return index;
  }
}
