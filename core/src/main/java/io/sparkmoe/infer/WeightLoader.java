package io.sparkmoe.infer;

import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Fp8Granularity;
import io.sparkmoe.kernel.Fp8Scaling;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.PanelMatrix;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;

/**
 * Lays a source's tensors out as inference needs them, one at a time, so that loading takes the
 * memory of the model and of its largest layer's matrix.
 *
 * <p>Legend: E experts, O outputs, I inputs, H heads, N query/key channels without position, V
 * value channels (of a head), L width of the latent.
 */
final class WeightLoader {

  private static final Fp8Scaling BLOCKS =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.BLOCK_128X128);

  private final WeightSource source;
  private final WeightFormat format;
  private final Kernels kernels;
  private final DecodeKernels decode;
  private final Arena arena;
  private final Allocator weights;
  private long bytesOfPass;

  /**
   * @param format of the matrices
   * @param kernels what rounds them
   * @param decode what lays them out
   * @param arena for what is read and not kept
   * @param weights owns what is kept
   */
  WeightLoader(
      WeightSource source,
      WeightFormat format,
      Kernels kernels,
      DecodeKernels decode,
      Arena arena,
      Allocator weights) {
    this.source = source;
    this.format = format;
    this.kernels = kernels;
    this.decode = decode;
    this.arena = arena;
    this.weights = weights;
  }

  /** Bytes of the matrices so far that every pass reads: all but those of {@link #allocate}. */
  long bytesOfPass() {
    return bytesOfPass;
  }

  /** A tensor as it is: a norm's weight or the embedding. */
  Tensor plain(String name, int... shape) throws IOException {
    Tensor tensor = weights.allocate(DType.F32, shape);
    source.read(name, tensor);
    return tensor;
  }

  /** Matrices of equal width one below the other, as one product. */
  PanelMatrix matrix(int inputs, Rows... parts) throws IOException {
    return matrix(format.matrices(), inputs, parts);
  }

  /** The output head. */
  PanelMatrix head(int inputs, Rows rows) throws IOException {
    return matrix(format.head(), inputs, rows);
  }

  /** A gate. */
  PanelMatrix gate(int inputs, Rows rows) throws IOException {
    return matrix(DType.F32, inputs, rows);
  }

  private PanelMatrix matrix(DType type, int inputs, Rows... parts) throws IOException {
    PanelMatrix matrix = PanelMatrix.allocate(type, 1, outputs(parts), inputs, weights);
    bytesOfPass += matrix.values().sizeBytes();
    pack(matrix, 0, parts);
    return matrix;
  }

  /** Matrix {@code number} of {@code into} from parts one below the other. */
  void pack(PanelMatrix into, int number, Rows... parts) throws IOException {
    try (Scope scratch = arena.scope()) {
      Tensor whole = scratch.allocate(DType.F32, into.outputs(), into.inputs());
      int row = 0;
      for (Rows part : parts) {
        source.read(part.name, whole.view(row * into.inputs(), part.count, into.inputs()));
        row += part.count;
      }
      pack(into, number, whole, scratch, parts[0].name);
    }
  }

  private void pack(PanelMatrix into, int number, Tensor whole, Scope scratch, String name) {
    int wrong = kernels.firstNonFinite(whole);
    if (wrong >= 0) {
      throw new IllegalArgumentException(
          "weight matrix of "
              + source.location()
              + " that starts with tensor "
              + name
              + " holds "
              + whole.get(wrong)
              + ", expected finite numbers; take an older checkpoint");
    }
    if (into.scales() == null) {
      decode.pack(into, number, whole);
      return;
    }
    Fp8Tensor codes = Fp8Tensor.allocate(scratch, Fp8Format.E4M3, whole.shape());
    kernels.quantize(null, codes, whole, null, BLOCKS, null);
    decode.pack(into, number, codes);
  }

  /** Zeroed matrices for {@link #pack}. */
  PanelMatrix allocate(int count, int outputs, int inputs) {
    return PanelMatrix.allocate(format.matrices(), count, outputs, inputs, weights);
  }

  /**
   * A tensor of the source.
   *
   * @param count its rows
   */
  record Rows(String name, int count) {}

  private static int outputs(Rows... parts) {
    int sum = 0;
    for (Rows part : parts) {
      sum += part.count;
    }
    return sum;
  }

  /**
   * The two halves of kv_b_proj (H*(N+V), L) for absorbed attention.
   *
   * @param keyUp H matrices (L, N): from a head's query to the latents
   * @param valueUp H matrices (V, L): from mixed latents to a head's values
   */
  record KeyValueUp(PanelMatrix keyUp, PanelMatrix valueUp) {}

  /** Cuts kv_b_proj. */
  KeyValueUp keyValueUp(String name, ModelConfig model) throws IOException {
    int heads = model.numAttentionHeads();
    int n = model.qkNopeHeadDim();
    int v = model.vHeadDim();
    int latent = model.kvLoraRank();
    KeyValueUp up = new KeyValueUp(allocate(heads, latent, n), allocate(heads, v, latent));
    bytesOfPass += up.keyUp.values().sizeBytes() + up.valueUp.values().sizeBytes();
    try (Scope scratch = arena.scope()) {
      Tensor whole = scratch.allocate(DType.F32, heads * (n + v), latent);
      Tensor transposed = scratch.allocate(DType.F32, latent, n);
      source.read(name, whole);
      for (int h = 0; h < heads; h++) {
        int start = h * (n + v) * latent;
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < latent; j++) {
            transposed.setFloat(j * n + i, whole.getFloat(start + i * latent + j));
          }
        }
        pack(up.keyUp, h, transposed, scratch, name);
        pack(up.valueUp, h, whole.view(start + n * latent, v, latent), scratch, name);
      }
    }
    return up;
  }
}
