package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.checkpoint.HuggingFaceFolder;
import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.Store;
import io.sparkmoe.kernel.GemmBackends;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.train.CheckpointState;
import io.sparkmoe.train.RunFolder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * A trained model wherever a person points: a run's folder (its newest whole checkpoint), one of
 * its checkpoints, or a folder in Hugging Face's form. Weights of a checkpoint are verified against
 * its manifest before any is used.
 */
public final class ModelFolder implements AutoCloseable {

  private final List<Store> stores = new ArrayList<>();
  private final List<String> notes = new ArrayList<>();
  private final String location;
  private WeightSource weights;
  private Optional<String> tokenizerJson = Optional.empty();
  private Set<Integer> endIds = Set.of();
  private int[] beginIds = {};
  private String gemmBackend = GemmBackends.AUTO;

  private ModelFolder(String location) {
    this.location = location;
  }

  /**
   * Opens a model.
   *
   * @param location folder on any file system that Hadoop knows
   * @throws IllegalArgumentException when there is no model
   * @throws CorruptFileException when the only checkpoints there are damaged
   */
  public static ModelFolder open(String location, Configuration hadoop) throws IOException {
    ModelFolder folder = new ModelFolder(location);
    try {
      folder.find(hadoop);
      return folder;
    } catch (IOException | RuntimeException e) {
      folder.close();
      throw e;
    }
  }

  private void find(Configuration hadoop) throws IOException {
    Store store = store(location, hadoop);
    if (CheckpointReader.isCommitted(store, "")) {
      CheckpointReader checkpoint = CheckpointReader.open(store, "");
      weights = checkpoint;
      checkpoint.verifyModel();
      // A checkpoint lies in RUN/checkpoints/step-N.
      Path run = qualified(location, hadoop).getParent().getParent();
      checkpoint(checkpoint, run == null ? store : store(run.toString(), hadoop));
    } else if (HuggingFaceFolder.exists(store, "")) {
      HuggingFaceFolder folder = openBelowParent(hadoop);
      weights = folder;
      notes.addAll(folder.notes());
      tokenizerJson = folder.tokenizerJson();
      endIds = folder.endOfTextIds();
      beginIds = folder.beginOfTextIds();
    } else {
      checkpoint(newestWhole(new CheckpointStore(store)), store);
    }
  }

  /** From the folder above, which tells whether this is the model of a committed checkpoint. */
  private HuggingFaceFolder openBelowParent(Configuration hadoop) throws IOException {
    Path path = qualified(location, hadoop);
    Path parent = path.getParent();
    return parent == null
        ? HuggingFaceFolder.open(stores.get(0), "")
        : HuggingFaceFolder.open(store(parent.toString(), hadoop), path.getName());
  }

  private void checkpoint(CheckpointReader checkpoint, Store run) throws IOException {
    gemmBackend = checkpoint.manifest().gemmBackend();
    if (run.exists(RunFolder.TOKENIZER_FILE)) {
      tokenizerJson = Optional.of(run.readText(RunFolder.TOKENIZER_FILE));
    }
  }

  private CheckpointReader newestWhole(CheckpointStore checkpoints) throws IOException {
    List<Integer> steps = new ArrayList<>(checkpoints.committedSteps());
    Collections.reverse(steps);
    CorruptFileException newestDamage = null;
    for (int step : steps) {
      CheckpointReader checkpoint = checkpoints.open(step);
      weights = checkpoint;
      try {
        checkpoint.verifyModel();
        return checkpoint;
      } catch (CorruptFileException e) {
        checkpoint.close();
        notes.add(e.getMessage() + "; an older checkpoint is used");
        newestDamage = newestDamage == null ? e : newestDamage;
      }
    }
    if (newestDamage != null) {
      throw newestDamage;
    }
    throw new IllegalArgumentException(
        "no model: "
            + location
            + " holds none, expected the folder of a run, of a checkpoint, or one with"
            + " config.json and model.safetensors; name another one");
  }

  private Store store(String folder, Configuration hadoop) throws IOException {
    Store store = HadoopStore.open(folder, hadoop);
    stores.add(store);
    return store;
  }

  private static Path qualified(String location, Configuration hadoop) throws IOException {
    Path path = new Path(location);
    return path.getFileSystem(hadoop).makeQualified(path);
  }

  /** The model's weights; closed with the folder. */
  public WeightSource weights() {
    return weights;
  }

  /** Shape of the model. */
  public ModelConfig model() throws IOException {
    return weights.model();
  }

  /** Matrix library that the model was trained with, "auto" when that is not known. */
  public String gemmBackend() {
    return gemmBackend;
  }

  /** What a person should know of the folder, one sentence each. */
  public List<String> notes() {
    return List.copyOf(notes);
  }

  /**
   * Opens the model's tokenizer; the caller closes it.
   *
   * @throws IllegalArgumentException when there is none, or it is not the one of the training data
   */
  public Tokenizer openTokenizer() throws IOException {
    String json =
        tokenizerJson.orElseThrow(
            () ->
                new IllegalArgumentException(
                    "missing tokenizer: "
                        + location
                        + " has no "
                        + RunFolder.TOKENIZER_FILE
                        + ", expected one beside the model or in the run's folder; copy it there"));
    Tokenizer tokenizer = parse(json);
    try {
      if (weights instanceof CheckpointReader checkpoint) {
        CheckpointState.requireTokenizer(checkpoint, tokenizer.sha256());
      }
      return tokenizer;
    } catch (IOException | RuntimeException e) {
      tokenizer.close();
      throw e;
    }
  }

  private Tokenizer parse(String json) {
    try {
      return Tokenizers.fromJson(json);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          location + "/" + RunFolder.TOKENIZER_FILE + ": " + e.getMessage(), e);
    }
  }

  /** Ids that stand before every text: none but where a Hugging Face folder asks for them. */
  public int[] beginIds() {
    return beginIds.clone();
  }

  /** Ids that end a text: those that the model's folder names, and the tokenizer's end of text. */
  public Set<Integer> endIds(Tokenizer tokenizer) {
    Set<Integer> ids = new TreeSet<>(endIds);
    ids.add(tokenizer.endOfTextId());
    return ids;
  }

  @Override
  public void close() throws IOException {
    if (weights != null) {
      weights.close();
    }
    for (Store store : stores) {
      store.close();
    }
  }
}
