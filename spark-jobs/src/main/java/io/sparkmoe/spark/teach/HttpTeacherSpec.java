package io.sparkmoe.spark.teach;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.AnswerSink;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.Teacher;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.distill.http.HttpTeacher;
import io.sparkmoe.distill.http.HttpTeacherSettings;
import java.io.IOException;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;

/**
 * An endpoint. Limits are the host's: each task gets its part of the concurrency, the rate and what
 * is left of the budget, so that nothing has to be agreed on while they ask.
 *
 * @param settings limits of all tasks together
 * @param tokenizerJson of the teacher, null = not known
 */
public record HttpTeacherSpec(HttpTeacherSettings settings, String tokenizerJson)
    implements TeacherSpec {

  @Override
  public TeacherIdentity identity() {
    try (Tokenizer tokenizer = tokenizer()) {
      return HttpTeacher.identity(settings.model(), tokenizer);
    }
  }

  @Override
  public String form() {
    return settings.endpoint().api().name().toLowerCase(Locale.ROOT);
  }

  @Override
  public boolean isRemote() {
    return true;
  }

  @Override
  public List<String> goodFinishReasons() {
    return List.of(DistillationRow.STOP);
  }

  @Override
  public void requireAskable(Prompt prompt) {
    HttpTeacher.requireAskable(settings, prompt);
  }

  @Override
  public int maxAskers() {
    return settings.concurrency();
  }

  @Override
  public long offHeapBytes() {
    return 0;
  }

  @Override
  public Teacher open(int asker, int askers, int threads, TokenUsage spent) {
    int concurrency = settings.concurrency() / askers;
    concurrency += asker < settings.concurrency() % askers ? 1 : 0;
    HttpTeacherSettings own =
        settings.withLimits(
            concurrency,
            settings.requestsPerSecond() / askers,
            settings.budget().share(spent, askers));
    Tokenizer tokenizer = tokenizer();
    return new Owning(new HttpTeacher(own, tokenizer), tokenizer);
  }

  private Tokenizer tokenizer() {
    return tokenizerJson == null ? null : Tokenizers.fromJson(tokenizerJson);
  }

  /** A teacher that closes its tokenizer. */
  private record Owning(HttpTeacher teacher, Tokenizer tokenizer) implements Teacher {
    @Override
    public TeacherIdentity identity() {
      return teacher.identity();
    }

    @Override
    public void answer(Iterator<TeacherRequest> requests, AnswerSink sink)
        throws IOException, InterruptedException {
      teacher.answer(requests, sink);
    }

    @Override
    public void close() {
      teacher.close();
      if (tokenizer != null) {
        tokenizer.close();
      }
    }
  }
}
