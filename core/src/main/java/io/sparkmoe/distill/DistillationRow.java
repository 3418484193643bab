package io.sparkmoe.distill;

import io.sparkmoe.data.ChatMessage;
import java.io.Serializable;
import java.lang.reflect.Array;
import java.time.Instant;
import java.util.List;
import java.util.Objects;

/**
 * What a teacher said to one prompt, one component per column of the distillation dataset. What a
 * teacher cannot give is null.
 *
 * <p>Legend: P prompt tokens, N completion tokens, K top-k. Position i of the arrays of N belongs
 * to the distribution that {@code completion_ids[i]} was drawn from, given the prompt and the
 * completion before it. Log-probabilities are natural logarithms of the full softmax at temperature
 * 1, whatever the sampling settings were. Arrays are not copied; nobody may write to them.
 *
 * @param id stable name of the request: equal prompt, settings and teacher give an equal id
 * @param source where the prompt comes from, such as a language or a file; never null
 * @param prompt text of the prompt; null when only messages were given
 * @param completion everything that a student should learn to say after the prompt, reasoning
 *     included; never null
 * @param messages the conversation, the answer as its last message; null when there is none
 * @param promptIds token ids of the prompt, (P); null when the teacher's tokenizer is not known, or
 *     the template by which it writes a conversation
 * @param completionIds token ids of the completion, (N); null when the teacher's tokenizer is not
 *     known
 * @param reasoning what the teacher thought before it answered; null = nothing or not shown
 * @param answer the completion without the reasoning; never null
 * @param finishReason why the teacher stopped: stop, length, content_filter, or {@link #FORCED}
 *     when the completion was given; null = not said
 * @param teacher name of the teacher's model; never null
 * @param teacherRevision which version of it: a checksum or what the endpoint calls it; null = not
 *     known
 * @param tokenizerSha256 of the tokenizer.json that the ids belong to; null when there are no ids
 * @param templateSha256 of the chat template that the prompt's ids were written with, as {@link
 *     io.sparkmoe.data.ChatTemplate#sha256} names it; null = the prompt is no conversation, or the
 *     template is the teacher's secret
 * @param temperature sampling temperature, 0 = greedy; null = the teacher's own default, or forced
 * @param topP nucleus sampled from, in (0, 1]; null as temperature
 * @param seed of the sampling; null as temperature
 * @param sampledLogprobs log-probability of each completion token, (N), NaN where the teacher only
 *     said that it is small; null = not given
 * @param topkIds ids of the most probable tokens, most probable first, (N, K) or fewer than K where
 *     the teacher gave fewer; null = not given, or not known which ids they are
 * @param topkLogprobs their log-probabilities, (N, K); null = not given
 * @param tailLogMass log of the probability of all other tokens, (N), -infinity when there is none;
 *     null = not given
 * @param correct whether a verifier accepted the answer; null = not verified
 * @param createdAt when the teacher answered, in milliseconds at most; never null
 */
public record DistillationRow(
    String id,
    String source,
    String prompt,
    String completion,
    List<ChatMessage> messages,
    int[] promptIds,
    int[] completionIds,
    String reasoning,
    String answer,
    String finishReason,
    String teacher,
    String teacherRevision,
    String tokenizerSha256,
    String templateSha256,
    Double temperature,
    Double topP,
    Long seed,
    float[] sampledLogprobs,
    int[][] topkIds,
    float[][] topkLogprobs,
    float[] tailLogMass,
    Boolean correct,
    Instant createdAt)
    implements Serializable {

  /** {@link #finishReason} of a completion that the teacher was given rather than made. */
  public static final String FORCED = "forced";

  /** {@link #finishReason} of a completion that the teacher ended itself. */
  public static final String STOP = "stop";

  /** {@link #finishReason} of a completion that was cut off. */
  public static final String LENGTH = "length";

  private static final int UNKNOWN = -1;

  /** Checks that what must be there is, and that the arrays agree in length. */
  public DistillationRow {
    Objects.requireNonNull(id, "id");
    Objects.requireNonNull(source, "source");
    Objects.requireNonNull(completion, "completion");
    Objects.requireNonNull(answer, "answer");
    Objects.requireNonNull(teacher, "teacher");
    Objects.requireNonNull(createdAt, "createdAt");
    messages = messages == null ? null : List.copyOf(messages);
    if ((completionIds != null || promptIds != null) && tokenizerSha256 == null) {
      throw new IllegalArgumentException(
          "distillation row " + id + " has token ids without a tokenizer, expected its SHA-256");
    }
    int numTokens = UNKNOWN;
    numTokens = agreed(id, numTokens, "completion_ids", completionIds);
    numTokens = agreed(id, numTokens, "sampled_logprobs", sampledLogprobs);
    numTokens = agreed(id, numTokens, "topk_ids", topkIds);
    numTokens = agreed(id, numTokens, "topk_logprobs", topkLogprobs);
    agreed(id, numTokens, "tail_logmass", tailLogMass);
    for (int i = 0; topkIds != null && topkLogprobs != null && i < topkIds.length; i++) {
      if (topkIds[i].length != topkLogprobs[i].length) {
        throw new IllegalArgumentException(
            "distillation row "
                + id
                + " has "
                + topkIds[i].length
                + " top-k ids at position "
                + i
                + " and "
                + topkLogprobs[i].length
                + " log-probabilities, expected as many");
      }
    }
  }

  /**
   * log(1 - sum of the stored probabilities), -infinity when they leave nothing: rounded ones may
   * add up to 1 or more.
   */
  public static float tailLogMassOf(float[] topkLogprobs) {
    double sum = 0;
    for (float logprob : topkLogprobs) {
      sum += Math.exp(logprob);
    }
    return sum >= 1 ? Float.NEGATIVE_INFINITY : (float) Math.log1p(-sum);
  }

  /** The number of completion tokens that all arrays so far agree on. */
  private static int agreed(String id, int numTokens, String column, Object array) {
    if (array == null) {
      return numTokens;
    }
    int length = Array.getLength(array);
    if (numTokens != UNKNOWN && length != numTokens) {
      throw new IllegalArgumentException(
          "distillation row "
              + id
              + ": "
              + column
              + " has "
              + length
              + " positions, the columns before it have "
              + numTokens
              + ", expected as many");
    }
    return length;
  }

  /** A row in the making; what is not set is null. */
  public static Builder builder() {
    return new Builder();
  }

  /** A builder that holds this row's values. */
  public Builder toBuilder() {
    return new Builder()
        .id(id)
        .source(source)
        .prompt(prompt)
        .completion(completion)
        .messages(messages)
        .ids(tokenizerSha256, promptIds, completionIds)
        .templateSha256(templateSha256)
        .reasoning(reasoning)
        .answer(answer)
        .finishReason(finishReason)
        .teacher(teacher, teacherRevision)
        .sampling(temperature, topP, seed)
        .sampledLogprobs(sampledLogprobs)
        .topk(topkIds, topkLogprobs, tailLogMass)
        .correct(correct)
        .createdAt(createdAt);
  }

  /** Collects the values of a row by name. */
  public static final class Builder {
    private String id;
    private String source = "";
    private String prompt;
    private String completion;
    private List<ChatMessage> messages;
    private int[] promptIds;
    private int[] completionIds;
    private String reasoning;
    private String answer;
    private String finishReason;
    private String teacher;
    private String teacherRevision;
    private String tokenizerSha256;
    private String templateSha256;
    private Double temperature;
    private Double topP;
    private Long seed;
    private float[] sampledLogprobs;
    private int[][] topkIds;
    private float[][] topkLogprobs;
    private float[] tailLogMass;
    private Boolean correct;
    private Instant createdAt;

    private Builder() {}

    public Builder id(String value) {
      id = value;
      return this;
    }

    public Builder source(String value) {
      source = value;
      return this;
    }

    public Builder prompt(String value) {
      prompt = value;
      return this;
    }

    public Builder completion(String value) {
      completion = value;
      return this;
    }

    public Builder messages(List<ChatMessage> value) {
      messages = value;
      return this;
    }

    /**
     * @param sha256 of the tokenizer
     * @param ofPrompt (P)
     * @param ofCompletion (N)
     */
    public Builder ids(String sha256, int[] ofPrompt, int[] ofCompletion) {
      tokenizerSha256 = sha256;
      promptIds = ofPrompt;
      completionIds = ofCompletion;
      return this;
    }

    public Builder templateSha256(String value) {
      templateSha256 = value;
      return this;
    }

    public Builder reasoning(String value) {
      reasoning = value;
      return this;
    }

    public Builder answer(String value) {
      answer = value;
      return this;
    }

    public Builder finishReason(String value) {
      finishReason = value;
      return this;
    }

    public Builder teacher(String name, String revision) {
      teacher = name;
      teacherRevision = revision;
      return this;
    }

    public Builder sampling(Double withTemperature, Double withTopP, Long withSeed) {
      temperature = withTemperature;
      topP = withTopP;
      seed = withSeed;
      return this;
    }

    public Builder sampledLogprobs(float[] value) {
      sampledLogprobs = value;
      return this;
    }

    /**
     * @param ids (N, K)
     * @param logprobs (N, K)
     * @param tail log of the probability outside of them, (N)
     */
    public Builder topk(int[][] ids, float[][] logprobs, float[] tail) {
      topkIds = ids;
      topkLogprobs = logprobs;
      tailLogMass = tail;
      return this;
    }

    public Builder correct(Boolean value) {
      correct = value;
      return this;
    }

    public Builder createdAt(Instant value) {
      createdAt = value;
      return this;
    }

    /** The row; throws when a value that must be there is missing or lengths disagree. */
    public DistillationRow build() {
      return new DistillationRow(
          id,
          source,
          prompt,
          completion,
          messages,
          promptIds,
          completionIds,
          reasoning,
          answer,
          finishReason,
          teacher,
          teacherRevision,
          tokenizerSha256,
          templateSha256,
          temperature,
          topP,
          seed,
          sampledLogprobs,
          topkIds,
          topkLogprobs,
          tailLogMass,
          correct,
          createdAt);
    }
  }
}
