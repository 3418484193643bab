package io.sparkmoe.checkpoint;

import io.sparkmoe.io.Sha256;
import io.sparkmoe.io.Store;
import io.sparkmoe.tensor.Elements;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.util.Map;

/** Writes safetensors files, streaming from the tensors' memory and summing SHA-256 on the way. */
public final class SafetensorsWriter {

  private static final int CHUNK_BYTES = 1 << 20;

  /** Readers of Hugging Face models look for this entry before they trust a file. */
  private static final Map<String, String> METADATA = Map.of("format", "pt");

  private SafetensorsWriter() {}

  /**
   * Writes {@code tensors} in the map's order; the file appears when it is complete.
   *
   * @param store where to
   * @param path the new file
   * @param tensors by name; any type and shape
   * @return the file's size and checksum, under its path
   */
  public static FileEntry write(Store store, String path, Map<String, ? extends Elements> tensors)
      throws IOException {
    return write(store, path, tensors, METADATA);
  }

  /** As {@link #write(Store, String, Map)}, with free text entries for the header. */
  public static FileEntry write(
      Store store,
      String path,
      Map<String, ? extends Elements> tensors,
      Map<String, String> metadata)
      throws IOException {
    if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
      throw new IllegalStateException("safetensors files need a little-endian machine");
    }
    MessageDigest digest = Sha256.digest();
    long[] sizeBytes = {0};
    store.write(
        path,
        out -> {
          byte[] header = SafetensorsHeader.format(tensors, metadata);
          append(out, digest, header, header.length);
          sizeBytes[0] += header.length;
          byte[] chunk = new byte[CHUNK_BYTES];
          for (Elements tensor : tensors.values()) {
            sizeBytes[0] += append(out, digest, tensor, chunk);
          }
        });
    return new FileEntry(path, sizeBytes[0], Sha256.hex(digest));
  }

  private static long append(OutputStream out, MessageDigest digest, Elements tensor, byte[] chunk)
      throws IOException {
    int elementBytes = tensor.type().sizeBytes();
    for (int done = 0; done < tensor.size(); ) {
      int count = Math.min(CHUNK_BYTES / elementBytes, tensor.size() - done);
      tensor.copyTo(chunk, done, count);
      append(out, digest, chunk, count * elementBytes);
      done += count;
    }
    return tensor.sizeBytes();
  }

  private static void append(OutputStream out, MessageDigest digest, byte[] bytes, int length)
      throws IOException {
    out.write(bytes, 0, length);
    digest.update(bytes, 0, length);
  }
}
