package io.sparkmoe.checkpoint;

import io.sparkmoe.io.Sha256;
import java.io.IOException;
import java.security.MessageDigest;

/**
 * SHA-256 over the little-endian FP32 bytes of all model tensors, selection biases included, in the
 * order of their names. It names a set of weights and does not depend on who held which expert.
 */
public final class WeightsDigest {

  private WeightsDigest() {}

  /** Reads all weights of a checkpoint once. */
  public static String of(CheckpointReader checkpoint) throws IOException {
    MessageDigest digest = Sha256.digest();
    for (String name : checkpoint.modelTensors()) {
      checkpoint.digest(name, digest);
    }
    return Sha256.hex(digest);
  }
}
