package io.sparkmoe.distill;

import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.infer.FinishReason;
import io.sparkmoe.infer.Generation;
import io.sparkmoe.infer.GenerationListener;
import io.sparkmoe.infer.GenerationRequest;
import io.sparkmoe.infer.InferenceModel;
import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.tensor.Arena;
import java.io.IOException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;

/**
 * A model of ours as teacher: it writes answers, or judges given text, which costs one forward pass.
 * Log-probabilities of answers are of the full softmax at temperature 1, whatever they were sampled
 * with; when alternatives are wanted, an answer is judged as given text is.
 */
public final class CheckpointTeacher implements Teacher {

  /** Requests that are worked on together. */
  private static final int GROUP = 64;

  /** Caches and intermediate results. */
  private static final long WORK_BYTES = 2L << 30;

  private final TeacherIdentity identity;
  private final SamplingSettings sampling;
  private final Tokenizer tokenizer;
  private final ComputeEngine engine;
  private final Arena arena;
  private final InferenceModel model;
  private final TextGenerator generator;
  private final TokenScorer scorer;

  /**
   * How a model is run.
   *
   * @param identity which model it is
   * @param sampling how it is to answer
   * @param gemmBackend matrix library, "auto" = the fastest
   * @param threads to compute with
   */
  public record Settings(
      TeacherIdentity identity, SamplingSettings sampling, String gemmBackend, int threads) {}

  /**
   * Loads the model.
   *
   * @param weights stay the caller's
   * @param tokenizer of the model; stays the caller's
   * @param endIds ids that end an answer
   */
  public CheckpointTeacher(
      Settings settings, WeightSource weights, Tokenizer tokenizer, Set<Integer> endIds)
      throws IOException {
    this.identity = settings.identity();
    this.sampling = settings.sampling();
    this.tokenizer = tokenizer;
    this.engine = ComputeEngine.open("teach", settings.gemmBackend(), settings.threads());
    this.arena = new Arena("teacher", offHeapBytes(weights.model()));
    try {
      this.model = InferenceModel.load(weights, engine, arena);
    } catch (IOException | RuntimeException e) {
      arena.close();
      engine.close();
      throw e;
    }
    this.generator = new TextGenerator(model, tokenizer, endIds);
    this.scorer = new TokenScorer(model, engine.kernels(), arena, sampling.topK());
  }

  /** Memory that a model of this shape takes here. */
  public static long offHeapBytes(ModelConfig model) {
    long weightBytes = Parameters.numElements(model, EnumSet.allOf(Part.class)) * Float.BYTES;
    // Size classes and padded panels take up to an eighth more each.
    return weightBytes + weightBytes / 4 + WORK_BYTES;
  }

  @Override
  public TeacherIdentity identity() {
    return identity;
  }

  @Override
  public void answer(Iterator<TeacherRequest> requests, AnswerSink sink)
      throws IOException, InterruptedException {
    while (requests.hasNext()) {
      if (Thread.interrupted()) {
        throw new InterruptedException("stopped between two groups of requests");
      }
      List<GivenText> given = new ArrayList<>();
      List<TeacherRequest> open = new ArrayList<>();
      for (int i = 0; i < GROUP && requests.hasNext(); i++) {
        TeacherRequest request = requests.next();
        GivenText text = GivenText.of(request, tokenizer);
        int tokens = text.ids().length + (text.isGiven() ? -1 : sampling.maxTokens());
        if (tokens > model.config().maxPositionEmbeddings()) {
          sink.failed(request, overflow(tokens));
        } else if (text.isGiven()) {
          given.add(text);
        } else {
          open.add(request);
        }
      }
      List<DistillationRow> rows = new ArrayList<>(judge(given));
      rows.addAll(write(open));
      sink.answered(rows, TokenUsage.NONE);
    }
  }

  private String overflow(int tokens) {
    return "context overflow: prompt and answer take "
        + tokens
        + " positions, the model has "
        + model.config().maxPositionEmbeddings();
  }

  private List<DistillationRow> judge(List<GivenText> texts) {
    List<TokenScores> scores = scores(texts);
    List<DistillationRow> rows = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      GivenText text = texts.get(i);
      rows.add(
          row(text.request(), text.ids(), text.first(), scores.get(i))
              .prompt(text.prompt(tokenizer))
              .completion(text.completion(tokenizer))
              .answer(text.completion(tokenizer))
              .finishReason(DistillationRow.FORCED)
              .build());
    }
    return rows;
  }

  private List<TokenScores> scores(List<GivenText> texts) {
    return scorer.score(
        texts.stream().map(text -> new TokenScorer.Text(text.ids(), text.first())).toList());
  }

  private List<DistillationRow> write(List<TeacherRequest> requests) {
    List<GenerationRequest> prompts = new ArrayList<>();
    for (TeacherRequest request : requests) {
      SamplingOptions options =
          new SamplingOptions(sampling.temperature(), 0, sampling.topP(), request.seed());
      prompts.add(
          new GenerationRequest(
              tokenizer.encode(request.prompt().text()),
              sampling.maxTokens(),
              options,
              List.of()));
    }
    List<Generation> answers =
        prompts.isEmpty()
            ? List.of()
            : generator
                .generate(prompts, TextGenerator.DEFAULT_BATCH, GenerationListener.NONE)
                .texts();
    List<GivenText> texts = new ArrayList<>();
    for (int i = 0; i < answers.size(); i++) {
      texts.add(GivenText.ofAnswer(requests.get(i), answers.get(i)));
    }
    List<TokenScores> scores = sampling.topK() > 0 ? scores(texts) : sampled(answers);
    List<DistillationRow> rows = new ArrayList<>();
    for (int i = 0; i < answers.size(); i++) {
      Generation answer = answers.get(i);
      Thinking.Parts parts = Thinking.split(answer.text());
      boolean stopped = answer.finishReason() == FinishReason.STOP;
      rows.add(
          row(requests.get(i), texts.get(i).ids(), texts.get(i).first(), scores.get(i))
              .prompt(requests.get(i).prompt().text())
              .completion(answer.text())
              .reasoning(parts.reasoning())
              .answer(parts.answer())
              .finishReason(stopped ? DistillationRow.STOP : DistillationRow.LENGTH)
              .sampling(sampling.temperature(), sampling.topP(), requests.get(i).seed())
              .build());
    }
    return rows;
  }

  private static List<TokenScores> sampled(List<Generation> answers) {
    return answers.stream()
        .map(answer -> new TokenScores(answer.logProbabilities(), null, null, null))
        .toList();
  }

  private DistillationRow.Builder row(
      TeacherRequest request, int[] ids, int first, TokenScores scores) {
    return DistillationRow.builder()
        .id(request.id())
        .source(request.prompt().source())
        .ids(
            identity.tokenizerSha256(),
            Arrays.copyOf(ids, first),
            Arrays.copyOfRange(ids, first, ids.length))
        .completion("")
        .answer("")
        .teacher(identity.name(), identity.revision())
        .sampledLogprobs(scores.given())
        .topk(scores.topkIds(), scores.topkLogprobs(), scores.tailLogmass())
        .createdAt(Instant.now().truncatedTo(ChronoUnit.MILLIS));
  }

  @Override
  public void close() {
    model.close();
    arena.close();
    engine.close();
  }
}
