package io.sparkmoe.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * The K largest of a row of scores, within its best groups or of all of it. Vectors first find a
 * floor that at least K of the candidates reach, so that few values get as far as the sorted list.
 * One thread's own.
 */
final class ExpertChoice {

  private final int topK;
  private final int topGroups;

  /** Whether a group's score is the sum of its two largest; else its largest. */
  private final boolean topTwo;

  private final TopK chosen;
  private final TopK chosenGroups;
  private final TopK chosenLanes;
  private final float[] lanes = new float[Lanes.LENGTH];
  private final float[] scores;
  private final float[] seconds;
  private final int[] groups;

  /**
   * @param topGroups groups that stay; all of them make every score a candidate
   */
  ExpertChoice(int topK, int numGroups, int topGroups, boolean topTwo) {
    this.topK = topK;
    this.topGroups = topGroups;
    this.topTwo = topTwo;
    chosen = new TopK(topK);
    chosenGroups = new TopK(topGroups);
    chosenLanes = new TopK(topK);
    scores = new float[numGroups];
    seconds = new float[numGroups];
    groups = new int[topGroups];
  }

  /** Of the whole row. */
  static ExpertChoice ofAll(int topK) {
    return new ExpertChoice(topK, 1, 1, false);
  }

  /** The indices of the chosen are written to the first K of {@code ids}, ascending. */
  void choose(float[] row, int[] ids) {
    float floor = topGroups == scores.length ? lanesFloor(row) : groupsFloor(row);
    offer(row, floor);
    if (chosen.count() < topK) {
      // Only NaNs make a floor that too few reach.
      offer(row, Float.NEGATIVE_INFINITY);
    }
    ascending(ids, chosen);
  }

  private void offer(float[] row, float floor) {
    chosen.clear(floor);
    if (topGroups == scores.length) {
      chosen.offer(row, 0, row.length);
      return;
    }
    int size = row.length / scores.length;
    // Groups not chosen are never offered: that is what a score of -inf would mean.
    for (int group : groups) {
      chosen.offer(row, group * size, (group + 1) * size);
    }
  }

  /** Every lane's largest is a value of the row: K of them reach the K-th largest of these. */
  private float lanesFloor(float[] row) {
    if (topK > Lanes.LENGTH || row.length < Lanes.LENGTH) {
      return Float.NEGATIVE_INFINITY;
    }
    FloatVector largest = FloatVector.fromArray(Lanes.FLOATS, row, 0);
    int bound = Lanes.FLOATS.loopBound(row.length);
    for (int i = Lanes.LENGTH; i < bound; i += Lanes.LENGTH) {
      largest = largest.max(FloatVector.fromArray(Lanes.FLOATS, row, i));
    }
    largest.intoArray(lanes, 0);
    chosenLanes.clear(Float.NEGATIVE_INFINITY);
    chosenLanes.offer(lanes, 0, lanes.length);
    return chosenLanes.value(topK - 1);
  }

  /** Chooses the groups. Each has two values that reach its second largest. */
  private float groupsFloor(float[] row) {
    int size = row.length / scores.length;
    for (int group = 0; group < scores.length; group++) {
      score(row, group, size);
    }
    chosenGroups.clear(Float.NEGATIVE_INFINITY);
    chosenGroups.offer(scores, 0, scores.length);
    ascending(groups, chosenGroups);
    if (size < 2 || topK > 2 * topGroups) {
      return Float.NEGATIVE_INFINITY;
    }
    float floor = Float.POSITIVE_INFINITY;
    for (int group : groups) {
      floor = Math.min(floor, seconds[group]);
    }
    return floor;
  }

  /** The group's score and second largest. */
  private void score(float[] row, int group, int size) {
    float largest = Float.NEGATIVE_INFINITY;
    float second = Float.NEGATIVE_INFINITY;
    int start = group * size;
    int bound = start + Lanes.FLOATS.loopBound(size);
    if (bound > start) {
      FloatVector firsts = FloatVector.fromArray(Lanes.FLOATS, row, start);
      FloatVector others = VectorMath.splat(Float.NEGATIVE_INFINITY);
      for (int i = start + Lanes.LENGTH; i < bound; i += Lanes.LENGTH) {
        FloatVector x = FloatVector.fromArray(Lanes.FLOATS, row, i);
        others = others.max(firsts.min(x));
        firsts = firsts.max(x);
      }
      largest = VectorMath.max(firsts);
      VectorMask<Float> top = firsts.compare(VectorOperators.EQ, largest);
      second = top.trueCount() > 1 ? largest : VectorMath.max(firsts.blend(others, top));
    }
    for (int i = bound; i < start + size; i++) {
      float value = row[i];
      if (value > largest) {
        second = largest;
        largest = value;
      } else if (value > second) {
        second = value;
      }
    }
    scores[group] = topTwo ? largest + second : largest;
    seconds[group] = second;
  }

  /** By insertion: a library's sort costs more than a few indices do. */
  private static void ascending(int[] sorted, TopK chosen) {
    for (int j = 0; j < chosen.count(); j++) {
      int index = chosen.index(j);
      int at = j;
      for (; at > 0 && sorted[at - 1] > index; at--) {
        sorted[at] = sorted[at - 1];
      }
      sorted[at] = index;
    }
  }
}
