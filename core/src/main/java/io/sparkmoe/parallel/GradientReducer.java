package io.sparkmoe.parallel;

import io.sparkmoe.kernel.Fp8Granularity;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Replaces the gradients of replicated parameters by their sum over all ranks. Every rank ends with
 * the same bits, which depend on the number of ranks but not on timing.
 *
 * <p>Gradients are cut into buckets and a bucket into one shard per rank, at multiples of a tile.
 * Every rank encodes the shards of the others once and sends them to their owners; the owner
 * decodes, adds in FP32 in rank order and encodes the sum once more for everybody, itself included.
 * Partial sums are never rounded. A rank's part of its own shard crosses no wire and is not
 * rounded. Three buckets are in flight: one is sent while the one before is summed and the one
 * before that comes back. With one rank nothing is sent and nothing is rounded.
 *
 * <p>The FP8 wire (E4M3, one power-of-two scale per 128 values, no lower clamp) has error feedback
 * [1] at both roundings: what a rounding loses is kept in a residual R and fed back. Only half of
 * it is fed back each step,
 *
 * <pre>  out = Q(g + R/2);  R += g - out  </pre>
 *
 * because feeding back all of it doubles the energy of a step's error (this step's rounding and the
 * last one's) where half of it makes it 4/3. Nothing is lost either way: the outs of n steps add up
 * to the gradients less R, and R stays within two roundings. FP32 and BF16 wires have no residual.
 *
 * <p>A value that is not finite arrives as one, so that it is noticed, but spoils the residual: the
 * run must stop.
 *
 * <p>[1] Karimireddy et al., Error Feedback Fixes SignSGD and other Gradient Compression Schemes,
 * 2019.
 */
public final class GradientReducer implements AutoCloseable {

  /** One MiB of FP32: a bucket and its scratch stay in the cache. */
  private static final int BUCKET_ELEMENTS = 1 << 18;

  private static final double FEEDBACK = 0.5;

  private final int channel;
  private final Communicator communicator;
  private final Wire wire;
  private final List<Tensor> gradients;
  private final Kernels kernels;
  private final Arena arena;
  private final int rank;
  private final int numRanks;
  private final List<Bucket> buckets = new ArrayList<>();
  private final Map<Integer, RowCodec> codecs = new HashMap<>();

  /** What sending lost, by gradient, same shapes; empty without feedback. */
  private final List<Tensor> sendResiduals = new ArrayList<>();

  /** What sending the sums of this rank's shards lost, by gradient. */
  private final List<Tensor> sumResiduals = new ArrayList<>();

  /**
   * A run of elements of one gradient.
   *
   * @param sumOffset where this rank's shard stands in the gradient's sum residual
   */
  private record Bucket(int gradient, int offset, int length, int sumOffset) {

    /** First element of a rank's shard, within the gradient. */
    int shardStart(int rank, int numRanks) {
      long tiles = Fp8Tensor.scalesPerRow(length);
      return offset
          + (int) Math.min(length, rank * tiles / numRanks * Fp8Granularity.SCALE_COLUMNS);
    }
  }

  /**
   * @param communicator a rank's end
   * @param gradients reduced in place, the same shapes on every rank; F32, or F64 on an FP32 wire
   * @param arena owns residuals and scratch
   */
  public GradientReducer(
      Communicator communicator, Wire wire, List<Tensor> gradients, Kernels kernels, Arena arena) {
    this(communicator, wire, gradients, kernels, arena, BUCKET_ELEMENTS, 0);
  }

  /**
   * A second reducer beside the run's own.
   *
   * @param channel tells its frames from other reducers'; 0 is the run's
   */
  public static GradientReducer onChannel(
      int channel,
      Communicator communicator,
      Wire wire,
      List<Tensor> gradients,
      Kernels kernels,
      Arena arena) {
    return new GradientReducer(
        communicator, wire, gradients, kernels, arena, BUCKET_ELEMENTS, channel);
  }

  GradientReducer(
      Communicator communicator,
      Wire wire,
      List<Tensor> gradients,
      Kernels kernels,
      Arena arena,
      int bucketElements,
      int channel) {
    this.channel = channel;
    this.communicator = communicator;
    this.wire = wire;
    this.gradients = List.copyOf(gradients);
    this.kernels = kernels;
    this.arena = arena;
    this.rank = communicator.rank();
    this.numRanks = communicator.size();
    if (numRanks == 1) {
      return;
    }
    for (int g = 0; g < gradients.size(); g++) {
      int owned = 0;
      int size = gradients.get(g).size();
      for (int offset = 0; offset < size; offset += bucketElements) {
        Bucket bucket = new Bucket(g, offset, Math.min(bucketElements, size - offset), owned);
        buckets.add(bucket);
        owned += shardLength(bucket, rank);
      }
      if (wire == Wire.FP8) {
        sendResiduals.add(arena.zeros(DType.F32, gradients.get(g).shape()));
        sumResiduals.add(arena.zeros(DType.F32, owned));
      }
    }
  }

  /**
   * What rounding has lost so far, for a checkpoint that resumes with the same bits: the tensors in
   * use, so a resume copies into them. They belong to this rank and this number of ranks; on
   * another number, start with zeros. Empty with one rank or without an FP8 wire.
   */
  public List<Tensor> residuals() {
    List<Tensor> residuals = new ArrayList<>(sendResiduals);
    residuals.addAll(sumResiduals);
    return residuals;
  }

  /**
   * Sums over the ranks, in place. Every rank calls it once a step.
   *
   * @throws CorruptFrameException when a shard has the wrong size
   */
  public void reduce(int step) {
    for (int b = 0; b < buckets.size() + 2 && numRanks > 1; b++) {
      if (b < buckets.size()) {
        sendShards(step, b);
      }
      if (b >= 1 && b <= buckets.size()) {
        sumShard(step, b - 1);
      }
      if (b >= 2) {
        receiveSums(step, b - 2);
      }
    }
  }

  @Override
  public void close() {
    residuals().forEach(Tensor::close);
    sendResiduals.clear();
    sumResiduals.clear();
  }

  private void sendShards(int step, int number) {
    Bucket bucket = buckets.get(number);
    for (int to = next(rank); to != rank; to = next(to)) {
      int length = shardLength(bucket, to);
      if (length > 0) {
        try (Scope scope = arena.scope()) {
          Tensor shard = shard(bucket, to);
          Tensor residual =
              sendResiduals.isEmpty()
                  ? null
                  : sendResiduals
                      .get(bucket.gradient())
                      .view(bucket.shardStart(to, numRanks), length);
          communicator.send(to, shardKey(step, number), encode(shard, residual, scope).bytes());
        }
      }
    }
  }

  private void sumShard(int step, int number) {
    Bucket bucket = buckets.get(number);
    int length = shardLength(bucket, rank);
    if (length == 0) {
      return;
    }
    try (Scope scope = arena.scope()) {
      Tensor own = shard(bucket, rank);
      Tensor sum = scope.zeros(own.type(), length);
      Tensor decoded = scope.allocate(own.type(), length);
      for (int from = 0; from < numRanks; from++) {
        if (from == rank) {
          kernels.add(sum, own);
        } else {
          decode(decoded, from, shardKey(step, number), scope);
          kernels.add(sum, decoded);
        }
      }
      Tensor residual =
          sumResiduals.isEmpty()
              ? null
              : sumResiduals.get(bucket.gradient()).view(bucket.sumOffset(), length);
      Tensor encoded = encode(sum, residual, scope);
      for (int to = next(rank); to != rank; to = next(to)) {
        communicator.send(to, sumKey(step, number), encoded.bytes());
      }
      codec(own.type(), length).decode(own, encoded.bytes(), 0, scope);
    }
  }

  private void receiveSums(int step, int number) {
    Bucket bucket = buckets.get(number);
    try (Scope scope = arena.scope()) {
      for (int from = 0; from < numRanks; from++) {
        if (from != rank && shardLength(bucket, from) > 0) {
          decode(shard(bucket, from), from, sumKey(step, number), scope);
        }
      }
    }
  }

  /**
   * Encodes {@code values + residual / 2} and keeps in the residual what that loses; without one,
   * just encodes.
   */
  private Tensor encode(Tensor values, Tensor residual, Scope scope) {
    RowCodec codec = codec(values.type(), values.size());
    if (residual == null) {
      return codec.encode(values, scope);
    }
    Tensor corrected = scope.allocate(values.type(), values.shape());
    corrected.copyFrom(values);
    kernels.addScaled(corrected, residual, FEEDBACK);
    Tensor encoded = codec.encode(corrected, scope);
    kernels.add(residual, values);
    codec.decode(corrected, encoded.bytes(), 0, scope);
    kernels.addScaled(residual, corrected, -1);
    return encoded;
  }

  private void decode(Tensor target, int from, FrameKey key, Scope scope) {
    RowCodec codec = codec(target.type(), target.size());
    ByteBuffer frame = communicator.receive(from, key);
    if (frame.remaining() != codec.rowBytes()) {
      throw new CorruptFrameException(
          communicator.describe(from)
              + ": its "
              + key
              + " must have "
              + codec.rowBytes()
              + " bytes, got "
              + frame.remaining()
              + "; do all ranks run the same config and version?");
    }
    codec.decode(target, frame, 0, scope);
  }

  private RowCodec codec(DType type, int length) {
    return codecs.computeIfAbsent(length, columns -> new RowCodec(wire, type, columns, kernels));
  }

  private Tensor shard(Bucket bucket, int owner) {
    return gradients
        .get(bucket.gradient())
        .view(bucket.shardStart(owner, numRanks), shardLength(bucket, owner));
  }

  private int shardLength(Bucket bucket, int owner) {
    return bucket.shardStart(owner + 1, numRanks) - bucket.shardStart(owner, numRanks);
  }

  private int next(int other) {
    return (other + 1) % numRanks;
  }

  private FrameKey shardKey(int step, int bucket) {
    return new FrameKey(FrameKind.GRADIENTS, step, 2 * bucket, channel);
  }

  private FrameKey sumKey(int step, int bucket) {
    return new FrameKey(FrameKind.GRADIENTS, step, 2 * bucket + 1, channel);
  }
}
