package io.sparkmoe.distill.http;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Vocabulary;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.Thinking;
import io.sparkmoe.distill.http.Reply.Chance;
import io.sparkmoe.distill.http.Reply.Token;
import java.time.Instant;
import java.util.List;

/** Turns replies into rows. */
final class ReplyRows {

  private final TeacherApi api;
  private final String model;
  private final SamplingSettings sampling;
  private final Tokenizer tokenizer;
  private final TokenIds tokenIds;

  /**
   * @param tokenizer of the teacher; null = not known, then rows have no ids
   */
  ReplyRows(TeacherApi api, String model, SamplingSettings sampling, Tokenizer tokenizer) {
    this.api = api;
    this.model = model;
    this.sampling = sampling;
    this.tokenizer = tokenizer;
    this.tokenIds = tokenizer == null ? null : new TokenIds(new Vocabulary(tokenizer));
  }

  DistillationRow row(TeacherRequest request, Reply reply, Instant now) {
    Thinking.Parts parts =
        reply.reasoning() == null
            ? Thinking.split(reply.answer())
            : new Thinking.Parts(reply.reasoning(), reply.answer());
    String completion = Thinking.join(reply.reasoning(), reply.answer());
    DistillationRow.Builder row =
        DistillationRow.builder()
            .id(request.id())
            .source(request.prompt().source())
            .prompt(request.prompt().text())
            .completion(completion)
            .messages(messages(request, completion))
            .reasoning(parts.reasoning())
            .answer(parts.answer())
            .finishReason(reply.finishReason())
            .teacher(model, reply.revision())
            .sampling(sampling.temperature(), sampling.topP(), request.seed())
            .createdAt(now);
    // Tokens of the answer alone do not line up with a completion that begins with reasoning.
    if (reply.tokens() != null && reply.reasoning() == null) {
      addTokens(row, request, reply);
    }
    return row.build();
  }

  private List<ChatMessage> messages(TeacherRequest request, String completion) {
    List<ChatMessage> before = api.conversation(request);
    return before == null ? null : ChatMessage.answered(before, completion);
  }

  private void addTokens(DistillationRow.Builder row, TeacherRequest request, Reply reply) {
    List<Token> tokens = reply.tokens();
    int numTokens = tokens.size();
    float[] sampled = new float[numTokens];
    for (int i = 0; i < numTokens; i++) {
      sampled[i] = tokens.get(i).sampled().logprob();
    }
    row.sampledLogprobs(sampled);
    int[] ids = tokenIds == null ? null : tokenIds.ofAnswer(tokens, reply.answer());
    if (ids != null) {
      // How the endpoint wrote a conversation as tokens is its template's secret.
      int[] promptIds =
          api instanceof CompletionsApi ? tokenizer.encode(request.prompt().text()) : null;
      row.ids(tokenizer.sha256(), promptIds, ids);
    }
    if (sampling.topK() > 0 && tokens.stream().noneMatch(t -> t.alternatives().isEmpty())) {
      float[][] logprobs = new float[numTokens][];
      float[] tail = new float[numTokens];
      for (int i = 0; i < numTokens; i++) {
        logprobs[i] = logprobs(tokens.get(i).alternatives());
        tail[i] = DistillationRow.tailLogMassOf(logprobs[i]);
      }
      row.topk(ids == null ? null : tokenIds.ofAlternatives(tokens), logprobs, tail);
    }
  }

  private static float[] logprobs(List<Chance> chances) {
    float[] logprobs = new float[chances.size()];
    for (int k = 0; k < logprobs.length; k++) {
      logprobs[k] = chances.get(k).logprob();
    }
    return logprobs;
  }
}
