package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.InferenceTeacherModel;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TeacherModel;
import io.sparkmoe.distill.dl4j.Dl4jModel;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.io.Sha256;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.util.SerializableConfiguration;

/** Teachers that are models in the tasks themselves. */
final class LocalTeachers {

  /** Weights and one step of a network of the sizes that DL4J trains. */
  private static final long NETWORK_BYTES = 2L << 30;

  private LocalTeachers() {}

  /**
   * A checkpoint, a run's newest one, or a Hugging Face folder.
   *
   * @param tokenizerJson in place of the folder's own, null = that one
   * @throws IllegalArgumentException when there is no model, or its tokenizer does not fit it
   */
  static ModelTeacherSpec checkpoint(
      String folder, String tokenizerJson, SamplingSettings sampling, Configuration hadoop)
      throws IOException {
    try (ModelFolder model = ModelFolder.open(folder, hadoop);
        Tokenizer tokenizer =
            tokenizerJson == null ? model.openTokenizer() : Tokenizers.fromJson(tokenizerJson)) {
      TextGenerator.requireVocabulary(model.model(), tokenizer);
      WeightSource weights = model.weights();
      String revision = null;
      if (weights instanceof CheckpointReader checkpoint) {
        byte[] files = checkpoint.manifest().files().toString().getBytes(StandardCharsets.UTF_8);
        revision = Sha256.hex(files);
      }
      String location = qualified(weights.location(), new Path(folder), hadoop);
      SerializableConfiguration configuration = new SerializableConfiguration(hadoop);
      return new ModelTeacherSpec(
          new TeacherIdentity(
                  "checkpoint:" + new Path(location).getName(),
                  revision,
                  tokenizer.sha256(),
                  tokenizer.vocabSize())
              .withTemplate(ChatTemplate.sha256()),
          tokenizer.toJson(),
          sampling,
          (settings, own, threads) -> load(location, configuration.value(), settings, own, threads),
          InferenceTeacherModel.offHeapBytes(model.model()));
    }
  }

  /**
   * A path as it means the same in every task: those have another working folder, and perhaps
   * another default file system.
   *
   * @param given names the file system
   */
  private static String qualified(String path, Path given, Configuration hadoop)
      throws IOException {
    return given.getFileSystem(hadoop).makeQualified(new Path(path)).toString();
  }

  private static TeacherModel load(
      String location,
      Configuration hadoop,
      SamplingSettings sampling,
      Tokenizer tokenizer,
      int threads)
      throws IOException {
    try (ModelFolder model = ModelFolder.open(location, hadoop)) {
      return new InferenceTeacherModel(
          model.weights(),
          sampling,
          new InferenceTeacherModel.Compute(model.gemmBackend(), threads),
          tokenizer,
          model.endIds(tokenizer),
          model.beginIds());
    }
  }

  /**
   * A network of DL4J or Keras.
   *
   * @param tokenizerJson that it was trained with
   * @throws IllegalArgumentException when there is no such file, or it is no language model over
   *     those tokens
   */
  static ModelTeacherSpec dl4j(
      String file, String tokenizerJson, SamplingSettings sampling, Configuration hadoop)
      throws IOException {
    if (tokenizerJson == null) {
      throw new IllegalArgumentException(
          "teacher dl4j:"
              + file
              + " has no tokenizer of its own, expected the one that it was trained with; give"
              + " --tokenizer byte, a tokenizer.json, or a text file with its characters by id");
    }
    String qualified = qualified(file, new Path(file), hadoop);
    MessageDigest digest = Sha256.digest();
    SerializableConfiguration configuration = new SerializableConfiguration(hadoop);
    try (Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson)) {
      read(file, hadoop, sampling, tokenizer, digest).close();
      return new ModelTeacherSpec(
          new TeacherIdentity(
              "dl4j:" + new Path(file).getName(),
              Sha256.hex(digest),
              tokenizer.sha256(),
              tokenizer.vocabSize()),
          tokenizerJson,
          sampling,
          (settings, own, threads) ->
              read(qualified, configuration.value(), settings, own, Sha256.digest()),
          NETWORK_BYTES);
    }
  }

  /** DL4J reads files of this machine only. */
  private static TeacherModel read(
      String file,
      Configuration hadoop,
      SamplingSettings sampling,
      Tokenizer tokenizer,
      MessageDigest digest)
      throws IOException {
    Path path = new Path(file);
    java.nio.file.Path copy = Files.createTempFile("teacher-", "-" + path.getName());
    try {
      try (InputStream in = new DigestInputStream(path.getFileSystem(hadoop).open(path), digest)) {
        Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
      } catch (FileNotFoundException e) {
        throw new IllegalArgumentException(
            "no such teacher: "
                + file
                + " is missing, expected a DL4J zip or a Keras h5; correct --teacher",
            e);
      }
      return Dl4jModel.read(copy, tokenizer, sampling);
    } finally {
      Files.deleteIfExists(copy);
    }
  }
}
