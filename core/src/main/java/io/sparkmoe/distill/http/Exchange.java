package io.sparkmoe.distill.http;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.TokenUsage;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;

/** Asks one request until it is answered, refused, or tried often enough; threads share one. */
final class Exchange {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Requests in a row that were given up on, after which the endpoint counts as down. */
  private static final int MAX_GIVEN_UP = 10;

  /**
   * Replies without log-probabilities, with none before that had them, that show there are none.
   */
  private static final int MAX_LACKING = 3;

  private final HttpTeacherSettings settings;
  private final TeacherApi api;
  private final Connection connection;
  private final StatusVerdicts verdicts;
  private final Pace pace;
  private final Budget budget;
  private final Timing timing;
  private final Clock clock;
  private final AtomicInteger givenUpInARow = new AtomicInteger();

  /** Such replies so far; far below zero once one had them. */
  private final AtomicInteger lacking = new AtomicInteger();

  Exchange(HttpTeacherSettings settings, TeacherApi api, Timing timing, Clock clock) {
    this.settings = settings;
    this.api = api;
    this.connection = new Connection(settings.key(), settings.retry().timeout());
    this.verdicts = new StatusVerdicts(settings);
    this.pace = new Pace(settings.requestsPerSecond(), timing);
    this.budget = new Budget(settings.budget());
    this.timing = timing;
    this.clock = clock;
  }

  /**
   * What became of a request.
   *
   * @param reply null when there is none
   * @param usage what all its tries cost
   * @param failure why there is no reply
   * @param stop why no other request has a chance either, null = others may
   */
  record Outcome(Reply reply, TokenUsage usage, String failure, TeacherFailure stop) {}

  /** What the tries of one request have cost so far. */
  private static final class Cost {
    private TokenUsage usage = TokenUsage.NONE;
  }

  Outcome ask(TeacherRequest request) throws InterruptedException {
    Cost cost = new Cost();
    try {
      return ask(request, cost);
    } catch (TeacherFailure e) {
      return new Outcome(null, cost.usage, e.getMessage(), e); // thrown on, it would hide the cost
    }
  }

  private Outcome ask(TeacherRequest request, Cost cost) throws InterruptedException {
    byte[] body = body(request);
    // A token is at least a byte; a template adds a few for each message.
    int messages = request.prompt().messages() == null ? 1 : request.prompt().messages().size();
    TokenUsage worst = new TokenUsage(body.length + 8L * messages, settings.sampling().maxTokens());
    SplittableRandom random = new SplittableRandom(request.seed());
    Verdict verdict = null;
    IOException failure = null;
    for (int attempt = 1; attempt <= settings.retry().maxAttempts(); attempt++) {
      if (attempt > 1) {
        timing.sleep(settings.retry().backoff(attempt - 1, random).toNanos());
      }
      pace.await();
      budget.reserve(worst);
      TokenUsage spent = TokenUsage.NONE;
      try {
        HttpResponse<byte[]> response = connection.post(settings.endpoint().requests(), body);
        failure = null;
        if (response.statusCode() == 200) {
          // One that cannot be read may have been charged for all the same.
          spent = worst;
          Reply reply = read(response.body());
          spent = reply.usage() == null ? worst : reply.usage();
          givenUpInARow.set(0);
          return new Outcome(reply, cost.usage.plus(spent), null, null);
        }
        verdict = verdicts.of(response.statusCode(), response.body());
        response
            .headers()
            .firstValue("Retry-After")
            .flatMap(value -> RetryAfter.parse(value, clock))
            .ifPresent(pace::pause);
      } catch (MalformedReplyException e) {
        verdict = again("malformed reply: " + verdicts.quotable(e.getMessage()));
      } catch (IOException e) {
        failure = e;
        // What was sent may be answered, and charged for, without our hearing of it.
        spent = Unreachable.is(e) ? TokenUsage.NONE : worst;
        verdict = again(Unreachable.describe(e));
      } finally {
        budget.settle(worst, spent);
        cost.usage = cost.usage.plus(spent);
      }
      switch (verdict.kind()) {
        case HOPELESS ->
            throw new TeacherFailure(TeacherFailure.Kind.WRONG_INPUT, verdict.reason());
        case REFUSED -> {
          givenUpInARow.set(0);
          return new Outcome(null, cost.usage, verdict.reason(), null);
        }
        case AGAIN -> {}
      }
    }
    if (failure != null && Unreachable.is(failure)) {
      throw Unreachable.at(settings.endpoint(), failure);
    }
    if (givenUpInARow.incrementAndGet() >= MAX_GIVEN_UP) {
      throw new TeacherFailure(
          TeacherFailure.Kind.UNAVAILABLE,
          "teacher "
              + settings.endpoint().host()
              + " fails: "
              + MAX_GIVEN_UP
              + " requests in a row had no answer after "
              + settings.retry().maxAttempts()
              + " tries each (the last: "
              + verdict.reason()
              + "), expected answers; run the same command again when it works");
    }
    return new Outcome(
        null,
        cost.usage,
        verdict.reason() + ", after " + settings.retry().maxAttempts() + " tries",
        null);
  }

  private static Verdict again(String reason) {
    return new Verdict(Verdict.Kind.AGAIN, reason);
  }

  private byte[] body(TeacherRequest request) {
    ObjectNode body = JSON.createObjectNode();
    body.put("model", settings.model());
    api.write(body, request, settings.sampling().topK());
    body.put("max_tokens", settings.sampling().maxTokens());
    body.put("temperature", settings.sampling().temperature());
    body.put("top_p", settings.sampling().topP());
    body.put("seed", request.seed());
    body.put("stream", false);
    return body.toString().getBytes(StandardCharsets.UTF_8);
  }

  private Reply read(byte[] body) throws MalformedReplyException {
    JsonNode json;
    try {
      json = JSON.readTree(body);
    } catch (JsonProcessingException e) {
      throw new MalformedReplyException("not JSON (" + e.getOriginalMessage() + ")");
    } catch (IOException e) {
      throw new MalformedReplyException("not text (" + e.getMessage() + ")");
    }
    if (json == null || !json.isObject()) {
      throw new MalformedReplyException("it is no JSON object");
    }
    Reply reply = api.read(json);
    if (settings.sampling().topK() > 0) {
      requireLogprobs(reply);
    }
    return reply;
  }

  /** Reasoning is given without them by those who hide their tokens; the answer still counts. */
  private void requireLogprobs(Reply reply) throws MalformedReplyException {
    if (reply.tokens() != null || reply.reasoning() != null) {
      lacking.set(Integer.MIN_VALUE);
    } else if (lacking.incrementAndGet() >= MAX_LACKING) {
      throw new TeacherFailure(
          TeacherFailure.Kind.WRONG_INPUT,
          "teacher "
              + settings.endpoint().host()
              + " gives no log-probabilities: model "
              + settings.model()
              + " left them out of "
              + MAX_LACKING
              + " replies, expected them for --top-k "
              + settings.sampling().topK()
              + "; use another model or --top-k 0");
    } else {
      throw new MalformedReplyException("it has no log-probabilities");
    }
  }
}
