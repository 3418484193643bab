package io.sparkmoe.distill.dl4j;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.modelimport.keras.KerasModelImport;
import org.deeplearning4j.nn.modelimport.keras.exceptions.InvalidKerasConfigurationException;
import org.deeplearning4j.nn.modelimport.keras.exceptions.UnsupportedKerasConfigurationException;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.nd4j.linalg.api.ndarray.INDArray;

/** One input, one output: what DL4J's two kinds of network have in common here. */
interface Network {

  /** Output for whole sequences. */
  INDArray output(INDArray input);

  /** Output for the next steps of the sequences since {@link #clear}. */
  INDArray step(INDArray input);

  /** Begins new sequences. */
  void clear();

  /**
   * Reads a network: a zip that DL4J wrote, or an HDF5 file that Keras wrote.
   *
   * @throws IllegalArgumentException when it is neither, or DL4J cannot read it
   */
  static Network read(Path file) throws IOException {
    byte[] magic = new byte[4];
    try (DataInputStream in = new DataInputStream(Files.newInputStream(file))) {
      in.readFully(magic);
    } catch (EOFException e) {
      throw unreadable(file, "it is shorter than a file header", e);
    }
    String begin = new String(magic, StandardCharsets.ISO_8859_1);
    try {
      if (begin.startsWith("PK")) {
        return isGraph(file)
            ? of(ComputationGraph.load(file.toFile(), false))
            : of(MultiLayerNetwork.load(file.toFile(), false));
      }
      if (begin.endsWith("HDF")) {
        return keras(file);
      }
    } catch (IOException
        | RuntimeException
        | InvalidKerasConfigurationException
        | UnsupportedKerasConfigurationException e) {
      throw unreadable(file, e.getMessage(), e);
    }
    throw unreadable(file, "it is neither a zip nor HDF5", null);
  }

  private static boolean isGraph(Path file) throws IOException {
    try (ZipFile zip = new ZipFile(file.toFile())) {
      ZipEntry configuration = zip.getEntry("configuration.json");
      if (configuration == null) {
        throw new IOException("the zip has no configuration.json");
      }
      byte[] json = zip.getInputStream(configuration).readAllBytes();
      return new String(json, StandardCharsets.UTF_8).contains("\"vertices\"");
    }
  }

  /** Keras writes a sequential model and a graph of layers under different class names. */
  private static Network keras(Path file)
      throws IOException,
          InvalidKerasConfigurationException,
          UnsupportedKerasConfigurationException {
    try {
      return of(KerasModelImport.importKerasSequentialModelAndWeights(file.toString(), false));
    } catch (InvalidKerasConfigurationException e) {
      return of(KerasModelImport.importKerasModelAndWeights(file.toString(), false));
    }
  }

  private static IllegalArgumentException unreadable(Path file, String why, Exception cause) {
    return new IllegalArgumentException(
        "teacher "
            + file
            + " cannot be read ("
            + String.valueOf(why).lines().findFirst().orElse("no reason given")
            + "), expected a zip of DL4J's MultiLayerNetwork or ComputationGraph or a Keras h5; give"
            + " another file",
        cause);
  }

  private static Network of(MultiLayerNetwork network) {
    return new Network() {
      @Override
      public INDArray output(INDArray input) {
        return network.output(input);
      }

      @Override
      public INDArray step(INDArray input) {
        return network.rnnTimeStep(input);
      }

      @Override
      public void clear() {
        network.rnnClearPreviousState();
      }
    };
  }

  private static Network of(ComputationGraph network) {
    if (network.getNumInputArrays() != 1 || network.getNumOutputArrays() != 1) {
      throw new IllegalArgumentException(
          "it has "
              + network.getNumInputArrays()
              + " inputs and "
              + network.getNumOutputArrays()
              + " outputs, one of each is needed");
    }
    return new Network() {
      @Override
      public INDArray output(INDArray input) {
        return network.outputSingle(input);
      }

      @Override
      public INDArray step(INDArray input) {
        return network.rnnTimeStep(input)[0];
      }

      @Override
      public void clear() {
        network.rnnClearPreviousState();
      }
    };
  }
}
