package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.Sha256;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Tensor;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.util.Collections;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeMap;

/**
 * A committed checkpoint, keyed by tensor name over all its files: whoever wrote it, any number of
 * ranks can read what they hold now. Not thread-safe; open one reader per thread.
 */
public final class CheckpointReader implements WeightSource {

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int CHUNK_BYTES = 1 << 20;

  private final Store store;
  private final String folder;
  private final Manifest manifest;

  /** Open files by their name in the manifest. */
  private final Map<String, SafetensorsReader> open = new TreeMap<>();

  private final TreeMap<String, SafetensorsReader> modelTensors = new TreeMap<>();
  private final Map<String, SafetensorsReader> moments = new TreeMap<>();
  private boolean indexed;

  CheckpointReader(Store store, String folder, Manifest manifest) {
    this.store = store;
    this.folder = folder;
    this.manifest = manifest;
  }

  /**
   * Opens a checkpoint and checks its manifest; {@link #verify} checks the rest.
   *
   * @param folder the checkpoint's folder in the store; empty when the store's root is the folder
   */
  public static CheckpointReader open(Store store, String folder) throws IOException {
    String path = CheckpointStore.join(folder, Manifest.FILE);
    return new CheckpointReader(
        store, folder, Manifest.parse(store.describe(path), store.readText(path)));
  }

  /**
   * Opens a checkpoint whose every file is as the manifest says.
   *
   * @param folder as in {@link #open}
   * @throws CorruptFileException naming the first file that differs
   */
  public static CheckpointReader openVerified(Store store, String folder) throws IOException {
    CheckpointReader reader = open(store, folder);
    try {
      reader.verify();
      return reader;
    } catch (IOException | RuntimeException e) {
      reader.close();
      throw e;
    }
  }

  /** Whether a folder is a committed checkpoint. */
  public static boolean isCommitted(Store store, String folder) throws IOException {
    return store.exists(CheckpointStore.join(folder, Manifest.FILE));
  }

  @Override
  public String location() {
    return store.describe(folder);
  }

  /** What the checkpoint consists of. */
  public Manifest manifest() {
    return manifest;
  }

  @Override
  public ModelConfig model() throws IOException {
    String path = path(CheckpointWriter.MODEL_CONFIG);
    try {
      return HuggingFaceConfig.fromJson(json(CheckpointWriter.MODEL_CONFIG), note -> {});
    } catch (IllegalArgumentException e) {
      throw new CorruptFileException(store.describe(path), e.getMessage(), e);
    }
  }

  /** What the driver stored besides tensors. */
  public JsonNode state() throws IOException {
    return json(CheckpointWriter.STATE);
  }

  /** A small file's content, as the manifest vouches for it. */
  private JsonNode json(String name) throws IOException {
    for (FileEntry file : manifest.files()) {
      if (file.name().equals(name)) {
        verify(file);
      }
    }
    try {
      return JSON.readTree(store.readText(path(name)));
    } catch (JsonProcessingException | FileNotFoundException e) {
      throw new CorruptFileException(store.describe(path(name)), "it holds no JSON", e);
    }
  }

  /**
   * Refuses to go on with another model.
   *
   * @throws IllegalArgumentException naming the first key that differs
   */
  public void requireModel(ModelConfig expected) throws IOException {
    ObjectNode here = HuggingFaceConfig.toJson(model());
    ObjectNode wanted = HuggingFaceConfig.toJson(expected);
    for (String key : HuggingFaceConfig.KEYS) {
      if (!here.path(key).equals(wanted.path(key))) {
        throw new IllegalArgumentException(
            "checkpoint "
                + location()
                + " has model."
                + key
                + "="
                + here.path(key)
                + ", this run has "
                + wanted.path(key)
                + "; take the same model or another folder");
      }
    }
  }

  /**
   * Reads every file and compares size and checksum with the manifest.
   *
   * @throws CorruptFileException naming the first file that differs
   */
  public void verify() throws IOException {
    for (FileEntry file : manifest.files()) {
      verify(file);
    }
  }

  /**
   * As {@link #verify}, but only the files that the model consists of.
   *
   * @throws CorruptFileException naming the first file that differs
   */
  public void verifyModel() throws IOException {
    for (FileEntry file : manifest.files()) {
      if (file.name().startsWith(CheckpointWriter.MODEL)) {
        verify(file);
      }
    }
  }

  private void verify(FileEntry file) throws IOException {
    String path = path(file.name());
    if (!store.exists(path)) {
      throw new CorruptFileException(store.describe(path), "it is missing");
    }
    long size = store.size(path);
    if (size != file.sizeBytes()) {
      throw new CorruptFileException(
          store.describe(path), "it has " + size + " bytes, the manifest says " + file.sizeBytes());
    }
    byte[] chunk = new byte[(int) Math.min(CHUNK_BYTES, Math.max(1, size))];
    MessageDigest digest = Sha256.digest();
    try (InputStream in = store.open(path)) {
      for (int length = in.read(chunk); length >= 0; length = in.read(chunk)) {
        digest.update(chunk, 0, length);
      }
    } catch (IOException e) {
      // Not taken for damage, which would have a resumed run delete it: the file may be there again
      // when its disk or node is.
      throw new IOException(
          store.describe(path)
              + " cannot be read: "
              + e.getMessage()
              + ", expected a whole file; bring its storage back, or name an older checkpoint",
          e);
    }
    String actual = Sha256.hex(digest);
    if (!actual.equals(file.sha256())) {
      throw new CorruptFileException(
          store.describe(path),
          "it has the SHA-256 " + actual + ", the manifest says " + file.sha256());
    }
  }

  /** Names of the model's tensors, sorted. */
  public SortedSet<String> modelTensors() throws IOException {
    index();
    return Collections.unmodifiableSortedSet(modelTensors.navigableKeySet());
  }

  @Override
  public void read(String name, Tensor into) throws IOException {
    index();
    find(modelTensors, name).read(name, into);
  }

  /** Reads AdamW's moments. */
  public void readMoments(Moments into) throws IOException {
    index();
    for (String parameter : into.first().keySet()) {
      String first = parameter + CheckpointWriter.FIRST_MOMENT;
      String second = parameter + CheckpointWriter.SECOND_MOMENT;
      find(moments, first).read(first, into.first().get(parameter));
      find(moments, second).read(second, into.second().get(parameter));
    }
  }

  /**
   * Whether the rank of that number stored what it carries over; of use only to as many ranks as
   * then.
   */
  public boolean hasResidual(int rank) {
    String file = CheckpointWriter.residualFile(rank);
    return manifest.files().stream().anyMatch(entry -> entry.name().equals(file));
  }

  /** Reads what {@link CheckpointWriter#writeResidual} stored. */
  public void readResidual(int rank, Map<String, Tensor> into) throws IOException {
    SafetensorsReader reader = open(CheckpointWriter.residualFile(rank));
    for (Map.Entry<String, Tensor> entry : new TreeMap<>(into).entrySet()) {
      reader.read(entry.getKey(), entry.getValue());
    }
  }

  @Override
  public void close() throws IOException {
    for (SafetensorsReader reader : open.values()) {
      reader.close();
    }
    open.clear();
  }

  /** Adds a model tensor's FP32 bytes to a checksum. */
  void digest(String name, MessageDigest digest) throws IOException {
    index();
    SafetensorsReader reader = find(modelTensors, name);
    if (reader.info(name).type() != SafetensorsType.F32) {
      throw new IllegalStateException(
          "tensor "
              + name
              + " of "
              + location()
              + " is "
              + reader.info(name).type()
              + ", expected F32 master weights");
    }
    reader.digest(name, digest);
  }

  /** Parameters in the order in which files hold them. */
  static Map<String, Parameter> byName(Parameters parameters) {
    Map<String, Parameter> sorted = new TreeMap<>();
    parameters.all().forEach(parameter -> sorted.put(parameter.name(), parameter));
    return sorted;
  }

  private SafetensorsReader find(Map<String, SafetensorsReader> tensors, String name) {
    return Optional.ofNullable(tensors.get(name))
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "checkpoint " + location() + " holds no tensor " + name));
  }

  private void index() throws IOException {
    if (indexed) {
      return;
    }
    for (FileEntry file : manifest.files()) {
      String name = file.name();
      if (!name.endsWith(CheckpointWriter.SAFETENSORS)
          || name.startsWith(CheckpointWriter.RESIDUAL)) {
        continue;
      }
      SafetensorsReader reader = open(name);
      Map<String, SafetensorsReader> tensors =
          name.startsWith(CheckpointWriter.MODEL) ? modelTensors : moments;
      for (String tensor : reader.names()) {
        if (tensors.put(tensor, reader) != null) {
          throw new CorruptFileException(
              store.describe(path(name)), "another file holds its tensor " + tensor + " too");
        }
      }
    }
    indexed = true;
  }

  private SafetensorsReader open(String file) throws IOException {
    SafetensorsReader reader = open.get(file);
    if (reader == null) {
      reader = SafetensorsReader.open(store, path(file));
      open.put(file, reader);
    }
    return reader;
  }

  private String path(String file) {
    return CheckpointStore.join(folder, file);
  }
}
