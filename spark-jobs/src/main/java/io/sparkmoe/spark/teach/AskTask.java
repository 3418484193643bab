package io.sparkmoe.spark.teach;

import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.RequestIds;
import io.sparkmoe.distill.Teacher;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.Store;
import io.sparkmoe.spark.data.AnswerWriter;
import io.sparkmoe.spark.data.HadoopStore;
import java.io.IOException;
import java.io.Serializable;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import org.apache.spark.TaskContext;
import org.apache.spark.util.SerializableConfiguration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Tuple2;

/** One task: asks the requests of its partition and puts the answers down. */
final class AskTask implements Serializable {

  private static final long serialVersionUID = 1;

  private static final Logger LOG = LoggerFactory.getLogger(AskTask.class);

  private final TeacherSpec spec;
  private final String answers;
  private final SerializableConfiguration configuration;

  /**
   * @param answers folder of the answers
   */
  AskTask(TeacherSpec spec, String answers, SerializableConfiguration configuration) {
    this.spec = spec;
    this.answers = answers;
    this.configuration = configuration;
  }

  /** As Spark runs it. */
  Iterator<Asked> run(int askers, TokenUsage spent, Iterator<Tuple2<String, String>> requests)
      throws Exception {
    TaskContext task = TaskContext.get();
    if (task.attemptNumber() > 0 || task.stageAttemptNumber() > 0) {
      // What the attempt before has put down is in this partition still; the driver leaves it out.
      return List.of(Asked.again()).iterator();
    }
    return List.of(ask(task.partitionId(), askers, Math.max(1, task.cpus()), spent, requests))
        .iterator();
  }

  /**
   * Asks. What goes wrong is reported and not thrown, so that a task is attempted again only when
   * its process was lost.
   *
   * @param requests ids and prompts
   */
  Asked ask(
      int asker,
      int askers,
      int threads,
      TokenUsage spent,
      Iterator<Tuple2<String, String>> requests)
      throws InterruptedException {
    Asked asked = new Asked();
    if (!requests.hasNext()) {
      return asked;
    }
    try (Store store = HadoopStore.open(answers, configuration.value());
        AnswerWriter writer = new AnswerWriter(store, (request, reason) -> asked.failed(reason));
        Teacher teacher = spec.open(asker, askers, threads, spent)) {
      teacher.answer(new Requests(requests), writer);
      writer.finish();
    } catch (TeacherFailure e) {
      asked.stopped(e); // not thrown: Spark would repeat what has no chance
    } catch (IllegalArgumentException | CorruptFileException e) { // no repetition mends it
      String reason = Objects.toString(e.getMessage(), e.toString());
      asked.stopped(new TeacherFailure(TeacherFailure.Kind.WRONG_INPUT, reason));
    } catch (IOException | RuntimeException e) { // a next attempt would not know of it
      LOG.warn("asking was stopped", e);
      String line = e.toString().lines().findFirst().orElseThrow(); // HDFS sends its stack along
      asked.stopped(
          new TeacherFailure(
              TeacherFailure.Kind.ASKING_FAILED,
              "asking was stopped: got "
                  + line
                  + ", expected a teacher that answers and room for its answers in "
                  + answers
                  + "; mend that and run the same command again"));
    }
    return asked;
  }

  /** Lines as requests. */
  private record Requests(Iterator<Tuple2<String, String>> lines)
      implements Iterator<TeacherRequest> {
    @Override
    public boolean hasNext() {
      return lines.hasNext();
    }

    @Override
    public TeacherRequest next() {
      Tuple2<String, String> line = lines.next();
      Prompt prompt = Prompt.fromJson(line._2, "request " + line._1);
      return new TeacherRequest(line._1, prompt, RequestIds.seedOf(line._1));
    }
  }
}
