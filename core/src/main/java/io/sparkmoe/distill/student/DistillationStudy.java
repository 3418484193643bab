package io.sparkmoe.distill.student;

import io.sparkmoe.data.InMemoryRowSource;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.train.CoordinatorSettings;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.DataIdentity;
import io.sparkmoe.train.DistillConfig.Loss;
import io.sparkmoe.train.LocalTraining;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.WorkerSettings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntFunction;

/**
 * Trains the same student towards a teacher in several ways and measures each on held-out text. All
 * arms have the same steps, the same batches and, seed by seed, the same initial weights; only the
 * loss and the share of the text differ.
 */
public final class DistillationStudy {

  /** The arms that a study has unless told otherwise. */
  public static final List<StudyArm> ARMS =
      List.of(
          new StudyArm(Loss.CROSS_ENTROPY, 1),
          new StudyArm(Loss.ZERO_TAIL, 1),
          new StudyArm(Loss.BUCKET, 1),
          new StudyArm(Loss.FORWARD_KL, 1),
          new StudyArm(Loss.CROSS_ENTROPY, 0.05),
          new StudyArm(Loss.BUCKET, 0.05));

  private final IntFunction<RunConfig> student;
  private final List<TokenRow> topRows;
  private final List<TokenRow> wholeRows;
  private final List<TokenRow> validation;

  /** Hears of every student that is trained, from several threads. */
  @FunctionalInterface
  public interface Listener {
    void onStudent(StudyArm arm, int seed, double nats);
  }

  /**
   * @param student config of a local run, by seed
   * @param topRows training rows with a teacher's top-k
   * @param wholeRows the same rows with all of its vocabulary
   * @param validation rows held out
   */
  public DistillationStudy(
      IntFunction<RunConfig> student,
      List<TokenRow> topRows,
      List<TokenRow> wholeRows,
      List<TokenRow> validation) {
    this.student = student;
    this.topRows = topRows;
    this.wholeRows = wholeRows;
    this.validation = validation;
  }

  /**
   * Trains every arm with seeds 1 to {@code seeds}, several students at a time on one thread each.
   *
   * @param threads students that are trained at a time
   * @return held-out loss in nats per token, by arm and seed
   */
  public Map<StudyArm, List<Double>> run(
      List<StudyArm> arms, int seeds, int threads, Listener listener)
      throws IOException, InterruptedException {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      Map<StudyArm, List<Future<Double>>> pending = new LinkedHashMap<>();
      for (StudyArm arm : arms) {
        List<Future<Double>> ofArm = new ArrayList<>();
        for (int seed = 1; seed <= seeds; seed++) {
          int number = seed;
          ofArm.add(
              pool.submit(
                  () -> {
                    double nats = train(arm, number);
                    listener.onStudent(arm, number, nats);
                    return nats;
                  }));
        }
        pending.put(arm, ofArm);
      }
      Map<StudyArm, List<Double>> losses = new LinkedHashMap<>();
      for (Map.Entry<StudyArm, List<Future<Double>>> entry : pending.entrySet()) {
        List<Double> ofArm = new ArrayList<>();
        for (Future<Double> one : entry.getValue()) {
          ofArm.add(one.get());
        }
        losses.put(entry.getKey(), ofArm);
      }
      return losses;
    } catch (ExecutionException e) {
      throw cause(e);
    } finally {
      pool.shutdownNow();
    }
  }

  /** Held-out loss of one student after its last step. */
  private double train(StudyArm arm, int seed) throws IOException {
    RunConfig base = student.apply(seed);
    RunConfig config = base.withDistill(base.distill().withLoss(arm.loss()));
    List<TokenRow> all = arm.loss() == Loss.FORWARD_KL ? wholeRows : topRows;
    int count = Math.max(1, (int) Math.round(all.size() * arm.textShare()));
    List<TokenRow> rows = all.subList(0, count);
    RowOrder order =
        new RowOrder(rows.size(), config.train().batchSequences(), config.train().seed());
    return LocalTraining.run(
            config,
            1,
            rank ->
                new WorkerSettings(
                    new InMemoryRowSource(rows, order, rank, 1),
                    validation,
                    null,
                    1,
                    RankMemory.ofRank(config, 1, teacherTopK(config, rows)).limitBytes()),
            new CoordinatorSettings(
                null,
                Resume.never(),
                DataIdentity.UNKNOWN,
                validation.size(),
                1,
                RankMemory.ofDriver(config, 1).limitBytes()),
            new RunListener() {})
        .evaluation()
        .meanLoss();
  }

  private static int teacherTopK(RunConfig config, List<TokenRow> rows) {
    return config.distill().readsTeacher() ? TokenRow.teacherTopK(rows) : 0;
  }

  private static RuntimeException cause(ExecutionException failure) throws IOException {
    Throwable cause = failure.getCause();
    if (cause instanceof IOException unreadable) {
      throw unreadable;
    }
    if (cause instanceof Error error) {
      throw error;
    }
    return cause instanceof RuntimeException unchecked
        ? unchecked
        : new UncheckedIOException(new IOException(cause));
  }
}
