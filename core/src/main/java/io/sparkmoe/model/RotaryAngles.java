package io.sparkmoe.model;

import io.sparkmoe.model.ModelConfig.Yarn;
import io.sparkmoe.tensor.Tensor;

/**
 * Angles of the rotary position embedding, with or without YaRN [1], as Hugging Face's {@code
 * modeling_rope_utils} computes them. Frequencies and angles are rounded to float there, and so
 * here: at position 10,000 that moves an angle by up to 5e-4, which published weights were trained
 * with.
 *
 * <p>YaRN leaves channels that turn more than {@code betaFast} times within the original context as
 * they are, slows those that turn less than {@code betaSlow} times down by {@code factor}, and
 * blends linearly in between. Attention gets sharper by a temperature, split between the tables
 * (mscale) and the softmax scale (mscale_all_dim).
 *
 * <p>[1] Peng et al., YaRN: Efficient Context Window Extension of Large Language Models, 2023,
 * section 3.
 */
public final class RotaryAngles {

  private final float[] frequencies;
  private final double tableFactor;
  private final double softmaxScale;
  private double[] cos = {};
  private double[] sin = {};

  /** Angles of a model. */
  public RotaryAngles(ModelConfig config) {
    Yarn yarn = config.yarn();
    this.frequencies = frequencies(config.qkRopeHeadDim(), config.ropeTheta(), yarn);
    this.tableFactor = yarn == null ? 1 : tableFactor(yarn);
    double temperature =
        yarn == null || yarn.mscaleAllDim() == 0 ? 1 : mscale(yarn.factor(), yarn.mscaleAllDim());
    this.softmaxScale = temperature * temperature / Math.sqrt(config.qkHeadDim());
  }

  /** Factor of query-key products before the softmax. */
  public double softmaxScale() {
    return softmaxScale;
  }

  /** Factor of cosines and sines. */
  double tableFactor() {
    return tableFactor;
  }

  /** Radians per position of each channel pair. */
  float[] frequencies() {
    return frequencies.clone();
  }

  /** Writes the cosines and sines of positions 0, 1, ... to cos and sin, both (S, R/2). */
  void write(Tensor cosines, Tensor sines) {
    extend(cosines.size());
    for (int i = 0; i < cosines.size(); i++) {
      cosines.set(i, cos[i]);
      sines.set(i, sin[i]);
    }
  }

  /**
   * Writes the cosines and sines of any positions.
   *
   * @param cosines (T, R/2), row t = positions[t]
   * @param sines (T, R/2)
   */
  public void write(Tensor cosines, Tensor sines, int[] positions) {
    int pairs = frequencies.length;
    for (int t = 0; t < positions.length; t++) {
      extend((positions[t] + 1) * pairs);
      for (int i = 0; i < pairs; i++) {
        cosines.set(t * pairs + i, cos[positions[t] * pairs + i]);
        sines.set(t * pairs + i, sin[positions[t] * pairs + i]);
      }
    }
  }

  private void extend(int least) {
    if (cos.length >= least) {
      return;
    }
    // Twice as much, so that a sequence that grows by single tokens does not start anew for each.
    int size = Math.max(least, 2 * cos.length);
    cos = new double[size];
    sin = new double[size];
    for (int i = 0; i < size; i++) {
      float angle = (float) (i / frequencies.length) * frequencies[i % frequencies.length];
      cos[i] = Math.cos(angle) * tableFactor;
      sin[i] = Math.sin(angle) * tableFactor;
    }
  }

  private static float[] frequencies(int channels, double base, Yarn yarn) {
    float[] frequencies = new float[channels / 2];
    for (int pair = 0; pair < frequencies.length; pair++) {
      float period = (float) Math.pow(base, 2.0 * pair / channels);
      float extrapolated = 1 / period;
      if (yarn == null) {
        frequencies[pair] = extrapolated;
      } else {
        float interpolated = 1 / ((float) yarn.factor() * period);
        float ramp = ramp(pair, channels, base, yarn);
        frequencies[pair] = interpolated * ramp + extrapolated * (1 - ramp);
      }
    }
    return frequencies;
  }

  /**
   * Share of the interpolated frequency: 0 up to the pair that turns betaFast times, 1 from that of
   * betaSlow on.
   */
  private static float ramp(int pair, int channels, double base, Yarn yarn) {
    double low = Math.max(Math.floor(pairWithTurns(yarn.betaFast(), channels, base, yarn)), 0);
    double high =
        Math.min(Math.ceil(pairWithTurns(yarn.betaSlow(), channels, base, yarn)), channels - 1);
    // Hugging Face's guard against an empty ramp.
    double width = low == high ? 0.001 : high - low;
    return (float) Math.min(Math.max((pair - low) / width, 0), 1);
  }

  /** The (fractional) channel pair that turns that many times within the original context. */
  private static double pairWithTurns(double turns, int channels, double base, Yarn yarn) {
    return channels
        * Math.log(yarn.originalMaxPositionEmbeddings() / (turns * 2 * Math.PI))
        / (2 * Math.log(base));
  }

  private static double tableFactor(Yarn yarn) {
    if (yarn.mscale() != 0 && yarn.mscaleAllDim() != 0) {
      return mscale(yarn.factor(), yarn.mscale()) / mscale(yarn.factor(), yarn.mscaleAllDim());
    }
    return mscale(yarn.factor(), 1);
  }

  private static double mscale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
  }
}
