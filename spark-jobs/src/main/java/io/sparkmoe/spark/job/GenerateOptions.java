package io.sparkmoe.spark.job;

import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.WeightFormat;
import java.util.List;

/**
 * What {@code moe generate} is asked for.
 *
 * @param checkpoint folder of a run, a checkpoint, or a Hugging Face model
 * @param prompts texts to continue
 * @param maxTokens most tokens of each text; 0 = as many as the context has room for, but at most
 *     {@value #DEFAULT_MAX_TOKENS}
 * @param sampling how tokens are chosen; text i takes the seed plus i
 * @param stops strings that end a text
 * @param weights how the weights are held
 * @param speculative whether the model's MTP module drafts tokens
 * @param batch texts under way at the same time
 * @param threads compute threads; 0 = one for each core
 * @param json one JSON line for each text instead of the text
 */
public record GenerateOptions(
    String checkpoint,
    List<String> prompts,
    int maxTokens,
    SamplingOptions sampling,
    List<String> stops,
    WeightFormat weights,
    boolean speculative,
    int batch,
    int threads,
    boolean json) {

  /** Most tokens of a text when none are asked for. */
  public static final int DEFAULT_MAX_TOKENS = 128;

  public GenerateOptions {
    prompts = List.copyOf(prompts);
    stops = List.copyOf(stops);
  }
}
