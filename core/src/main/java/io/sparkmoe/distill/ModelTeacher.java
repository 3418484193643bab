package io.sparkmoe.distill;

import io.sparkmoe.data.Tokenizer;
import java.io.IOException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;

/**
 * A model in this process as teacher: it writes answers, or judges given text, which costs one
 * forward pass. Log-probabilities of answers are of the full softmax at temperature 1, whatever
 * they were sampled with; when alternatives are wanted, an answer is judged as given text is.
 */
public final class ModelTeacher implements Teacher {

  /** Requests that are worked on together. */
  private static final int GROUP = 64;

  private final TeacherIdentity identity;
  private final SamplingSettings sampling;
  private final Tokenizer tokenizer;
  private final TeacherModel model;

  /**
   * @param tokenizer of the model; closed with the teacher, as the model is
   */
  public ModelTeacher(
      TeacherIdentity identity,
      SamplingSettings sampling,
      Tokenizer tokenizer,
      TeacherModel model) {
    this.identity = identity;
    this.sampling = sampling;
    this.tokenizer = tokenizer;
    this.model = model;
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
      List<GivenText> open = new ArrayList<>();
      for (int i = 0; i < GROUP && requests.hasNext(); i++) {
        GivenText text = GivenText.of(requests.next(), tokenizer);
        int positions = text.ids().length + (text.isGiven() ? -1 : sampling.maxTokens());
        if (text.ids().length < 1 || positions > model.contextLength()) {
          sink.failed(text.request(), misfit(positions));
        } else {
          (text.isGiven() ? given : open).add(text);
        }
      }
      List<DistillationRow> rows = new ArrayList<>(judge(given));
      rows.addAll(write(open));
      sink.answered(rows, TokenUsage.NONE);
    }
  }

  private String misfit(int positions) {
    return "context overflow: prompt and answer take "
        + positions
        + " positions, the model has "
        + model.contextLength();
  }

  private List<DistillationRow> judge(List<GivenText> texts) {
    List<TokenScores> scores = texts.isEmpty() ? List.of() : model.score(texts);
    List<DistillationRow> rows = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      GivenText text = texts.get(i);
      String completion = text.completion(tokenizer);
      rows.add(
          row(text, completion, scores.get(i))
              .answer(completion)
              .finishReason(DistillationRow.FORCED)
              .build());
    }
    return rows;
  }

  private List<DistillationRow> write(List<GivenText> prompts) {
    if (prompts.isEmpty()) {
      return List.of();
    }
    List<WrittenText> answers = model.write(prompts);
    List<GivenText> texts = answers.stream().map(WrittenText::given).toList();
    List<TokenScores> scores =
        sampling.topK() > 0
            ? model.score(texts)
            : answers.stream()
                .map(answer -> new TokenScores(answer.logprobs(), null, null, null))
                .toList();
    List<DistillationRow> rows = new ArrayList<>();
    for (int i = 0; i < answers.size(); i++) {
      WrittenText answer = answers.get(i);
      TeacherRequest request = answer.prompt().request();
      Thinking.Parts parts = Thinking.split(answer.text());
      rows.add(
          row(texts.get(i), answer.text(), scores.get(i))
              .reasoning(parts.reasoning())
              .answer(parts.answer())
              .finishReason(answer.isEnded() ? DistillationRow.STOP : DistillationRow.LENGTH)
              .sampling(sampling.temperature(), sampling.topP(), request.seed())
              .build());
    }
    return rows;
  }

  private DistillationRow.Builder row(GivenText text, String completion, TokenScores scores) {
    Prompt prompt = text.request().prompt();
    int[] ids = text.ids();
    return DistillationRow.builder()
        .id(text.request().id())
        .source(prompt.source())
        .prompt(text.prompt(tokenizer))
        .completion(completion)
        .messages(text.messages(completion))
        .ids(
            identity.tokenizerSha256(),
            Arrays.copyOf(ids, text.first()),
            Arrays.copyOfRange(ids, text.first(), ids.length))
        .templateSha256(prompt.isConversation() ? identity.templateSha256() : null)
        .teacher(identity.name(), identity.revision())
        .sampledLogprobs(scores.given())
        .topk(scores.topkIds(), scores.topkLogprobs(), scores.tailLogMass())
        .createdAt(Instant.now().truncatedTo(ChronoUnit.MILLIS));
  }

  @Override
  public void close() throws IOException {
    try (tokenizer) {
      model.close();
    }
  }
}
