package io.sparkmoe.model;

import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A contiguous run of parameters of one part: what the optimizer walks and what ranks reduce.
 * Moments of the optimizer have the same layout.
 *
 * @param name "layers.3", "layers.3.experts", "layers.3.gate", "embed_tokens" or "head"
 * @param part who owns it
 * @param value all values, flat
 * @param gradient all gradients, flat, same length; null when only inference was asked for
 * @param segments consecutive runs of equal decay that cover the block in order
 */
public record ParameterBlock(
    String name, Part part, Tensor value, Tensor gradient, List<Segment> segments) {

  /**
   * @param offset first element
   * @param size elements
   * @param decayed whether AdamW decays them
   */
  public record Segment(int offset, int size, boolean decayed) {}

  static List<Segment> merge(List<Segment> pieces) {
    List<Segment> merged = new ArrayList<>();
    for (Segment piece : pieces) {
      Segment last = merged.isEmpty() ? null : merged.get(merged.size() - 1);
      if (last != null && last.decayed() == piece.decayed()) {
        merged.set(
            merged.size() - 1,
            new Segment(last.offset(), last.size() + piece.size(), last.decayed()));
      } else {
        merged.add(piece);
      }
    }
    return List.copyOf(merged);
  }
}
