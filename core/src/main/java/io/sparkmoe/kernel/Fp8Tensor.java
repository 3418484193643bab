package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;

/**
 * A tensor kept in FP8: {@code value = code * scale}. Every row has one scale byte per 128 columns
 * ({@link PowerOfTwoScale}), whatever the granularity: where more values share a scale, its byte is
 * repeated, so that all are read alike.
 *
 * <p>Legend: R rows, N columns.
 *
 * @param codes F8_E4M3 or F8_E5M2 (R, N)
 * @param scales U8 (R, ceil(N / 128))
 */
public record Fp8Tensor(Tensor codes, Tensor scales) {

  public Fp8Tensor {
    codes.type().fp8Format();
    KernelArguments.typed(scales, DType.U8);
    KernelArguments.equal(
        () -> "scales of codes " + codes,
        (long) codes.rows() * scalesPerRow(codes.cols()),
        scales.size());
  }

  /** Scale bytes of a row. */
  public static int scalesPerRow(int columns) {
    return Pieces.count(columns, Fp8Granularity.SCALE_COLUMNS);
  }

  /** Unwritten codes and scales of {@code shape}. */
  public static Fp8Tensor allocate(Allocator allocator, Fp8Format format, int... shape) {
    int[] scales = Arrays.copyOf(shape, shape.length);
    scales[shape.length - 1] = scalesPerRow(shape[shape.length - 1]);
    return new Fp8Tensor(
        allocator.allocate(format.type(), shape), allocator.allocate(DType.U8, scales));
  }

  /** Format of the codes. */
  public Fp8Format format() {
    return codes.type().fp8Format();
  }

  /** Value of an element, exact in a float. */
  public float get(int element) {
    byte scale = scales.bytes().get(scaleAt(element));
    return (float) codes.get(element) * PowerOfTwoScale.value(scale);
  }

  /** Index of an element's scale byte. */
  int scaleAt(int element) {
    int n = codes.cols();
    return element / n * scalesPerRow(n) + element % n / Fp8Granularity.SCALE_COLUMNS;
  }

  /** A borrowed view of {@code count} rows from {@code first} on, (count, N). */
  public Fp8Tensor rows(int first, int count) {
    int n = codes.cols();
    int s = scalesPerRow(n);
    return new Fp8Tensor(codes.view(first * n, count, n), scales.view(first * s, count, s));
  }

  /** Bytes of codes and scales. */
  public long sizeBytes() {
    return codes.sizeBytes() + scales.sizeBytes();
  }
}
