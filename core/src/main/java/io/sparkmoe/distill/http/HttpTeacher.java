package io.sparkmoe.distill.http;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.AnswerSink;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.Teacher;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TeacherRequest;
import java.io.IOException;
import java.time.Clock;
import java.time.temporal.ChronoUnit;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A teacher behind an OpenAI-compatible endpoint. As many requests are under way as the settings
 * allow; each is repeated while that can help. When one shows that no other has a chance, the rest
 * are not asked.
 */
public final class HttpTeacher implements Teacher {

  private final HttpTeacherSettings settings;
  private final Tokenizer tokenizer;
  private final Exchange exchange;
  private final ReplyRows rows;
  private final Clock clock;

  /**
   * @param tokenizer of the teacher, which stays the caller's; null = not known
   */
  public HttpTeacher(HttpTeacherSettings settings, Tokenizer tokenizer) {
    this(settings, tokenizer, Timing.SYSTEM, Clock.systemUTC());
  }

  HttpTeacher(HttpTeacherSettings settings, Tokenizer tokenizer, Timing timing, Clock clock) {
    TeacherApi api = TeacherApi.of(settings.endpoint().api());
    this.settings = settings;
    this.tokenizer = tokenizer;
    this.exchange = new Exchange(settings, api, timing, clock);
    this.rows = new ReplyRows(api, settings.model(), settings.sampling(), tokenizer);
    this.clock = clock;
  }

  @Override
  public TeacherIdentity identity() {
    return identity(settings.model(), tokenizer);
  }

  /** Which teacher an endpoint's model is. */
  public static TeacherIdentity identity(String model, Tokenizer tokenizer) {
    return tokenizer == null
        ? new TeacherIdentity(model, null, null, 0)
        : new TeacherIdentity(model, null, tokenizer.sha256(), tokenizer.vocabSize());
  }

  @Override
  public void answer(Iterator<TeacherRequest> requests, AnswerSink sink)
      throws IOException, InterruptedException {
    ExecutorService askers = Executors.newFixedThreadPool(settings.concurrency());
    Semaphore free = new Semaphore(settings.concurrency());
    AtomicReference<Throwable> stop = new AtomicReference<>();
    try {
      while (requests.hasNext()) {
        free.acquire();
        if (stop.get() != null) {
          free.release();
          break;
        }
        TeacherRequest request = requests.next();
        requireAskable(settings, request.prompt());
        askers.execute(
            () -> {
              try {
                ask(request, sink);
              } catch (Throwable e) { // rethrown below, in the caller's thread
                stop.compareAndSet(null, e);
              } finally {
                free.release();
              }
            });
      }
      // What is under way is paid for: it is waited for, unless it cannot be written down either.
      free.acquire(settings.concurrency());
    } finally {
      askers.shutdownNow();
    }
    rethrow(stop.get());
  }

  /**
   * Refuses a prompt that no endpoint, or not one of this form, can answer.
   *
   * @throws IllegalArgumentException saying what it takes
   */
  public static void requireAskable(HttpTeacherSettings settings, Prompt prompt) {
    boolean chat = settings.endpoint().api() == Endpoint.Api.CHAT;
    if (prompt.completion() != null || prompt.window() != null) {
      throw new IllegalArgumentException(
          "an endpoint cannot judge given text: a prompt comes with its completion, expected"
              + " prompts alone; use a checkpoint as teacher or leave --force out");
    }
    if (!chat && prompt.text() == null) {
      throw new IllegalArgumentException(
          "a completions endpoint takes text: got messages, expected a column prompt; leave"
              + " --completions out");
    }
  }

  private void ask(TeacherRequest request, AnswerSink sink)
      throws IOException, InterruptedException {
    Exchange.Outcome outcome = exchange.ask(request);
    if (outcome.reply() == null) {
      if (outcome.usage().total() > 0) {
        sink.answered(List.of(), outcome.usage());
      }
      if (outcome.stop() != null) {
        throw outcome.stop();
      }
      sink.failed(request, outcome.failure());
      return;
    }
    DistillationRow row =
        rows.row(request, outcome.reply(), clock.instant().truncatedTo(ChronoUnit.MILLIS));
    sink.answered(List.of(row), outcome.usage());
  }

  private static void rethrow(Throwable failure) throws IOException, InterruptedException {
    if (failure instanceof IOException io) {
      throw io;
    }
    if (failure instanceof InterruptedException interrupted) {
      throw interrupted;
    }
    if (failure instanceof RuntimeException unchecked) {
      throw unchecked;
    }
    if (failure instanceof Error error) {
      throw error;
    }
  }

  @Override
  public void close() {}
}
