package io.sparkmoe.spark.job;

import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.WeightFormat;
import java.util.List;

/**
 * What {@code moe bench speculative} is asked for.
 *
 * @param checkpoint folder of a run, a checkpoint, or a Hugging Face model
 * @param data dataset whose validation rows are prompts and held-out text
 * @param weights formats to measure
 * @param sampling how tokens are chosen; prompt i takes the seed plus i
 * @param prompts number of prompts
 * @param promptTokens tokens of each
 * @param maxTokens tokens written after each at most
 * @param batch texts written at the same time
 * @param repeats measurements, of which the fastest count
 * @param lossRows most rows that the held-out loss is measured on
 * @param threads compute threads; 0 = one for each core
 */
public record BenchSpeculativeOptions(
    String checkpoint,
    String data,
    List<WeightFormat> weights,
    SamplingOptions sampling,
    int prompts,
    int promptTokens,
    int maxTokens,
    int batch,
    int repeats,
    int lossRows,
    int threads) {

  public BenchSpeculativeOptions {
    weights = List.copyOf(weights);
  }
}
