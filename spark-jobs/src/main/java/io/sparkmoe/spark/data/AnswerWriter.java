package io.sparkmoe.spark.data;

import io.sparkmoe.distill.AnswerSink;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.io.Store;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.function.BiConsumer;

/**
 * Puts answers down in small files, each of which appears whole or not at all. What arrives while a
 * file is being written goes into the next one together, so a slow file system makes files larger
 * rather than answers wait; and many small files become one.
 */
public final class AnswerWriter implements AnswerSink, AutoCloseable {

  /** Files after which they are joined. */
  private static final int FILES_TO_JOIN = 64;

  /** Values of arrays that are held for joining at most: 64 MB. */
  private static final long MAX_HELD_VALUES = 16 << 20;

  private final Store store;
  private final BiConsumer<TeacherRequest, String> failureListener;
  private final String id = UUID.randomUUID().toString();
  private final Object writing = new Object();

  private List<DistillationRow> waiting = new ArrayList<>();
  private TokenUsage waitingUsage = TokenUsage.NONE;

  /** What the files on their way to be joined hold; guarded by writing. */
  private final List<DistillationRow> held = new ArrayList<>();

  private final List<String> heldFiles = new ArrayList<>();
  private TokenUsage heldUsage = TokenUsage.NONE;
  private long heldValues;

  /** Numbers of the first file to be joined and of the next to be written. */
  private int firstHeld;

  private int nextFile;

  /**
   * @param store the answers' folder
   * @param failureListener hears of failures
   */
  public AnswerWriter(Store store, BiConsumer<TeacherRequest, String> failureListener) {
    this.store = store;
    this.failureListener = failureListener;
  }

  @Override
  public void answered(List<DistillationRow> rows, TokenUsage usage) throws IOException {
    synchronized (this) {
      waiting.addAll(rows);
      waitingUsage = waitingUsage.plus(usage);
    }
    if (!rows.isEmpty()) {
      commit();
    }
  }

  /** Writes what waits; on return all that waited at the call is written, by whichever thread. */
  private void commit() throws IOException {
    synchronized (writing) {
      List<DistillationRow> rows;
      TokenUsage usage;
      synchronized (this) {
        rows = waiting;
        usage = waitingUsage;
        waiting = new ArrayList<>();
        waitingUsage = TokenUsage.NONE;
      }
      if (rows.isEmpty() && usage.total() == 0) {
        return; // another thread took it along
      }
      try {
        AnswerFile file = AnswerFile.of(id, nextFile, nextFile, rows.size(), usage);
        nextFile++; // also when this fails: the file may be there after all
        write(file, rows);
        hold(rows, file);
      } catch (IOException | RuntimeException e) {
        synchronized (this) { // for whoever tries again
          waiting.addAll(rows);
          waitingUsage = waitingUsage.plus(usage);
        }
        throw e;
      }
      if (heldFiles.size() >= FILES_TO_JOIN || heldValues > MAX_HELD_VALUES) {
        join();
      }
    }
  }

  private void write(AnswerFile file, List<DistillationRow> rows) throws IOException {
    store.write(file.name(), out -> DistillationRowWriter.write(out, rows));
  }

  private void hold(List<DistillationRow> rows, AnswerFile file) {
    held.addAll(rows);
    heldFiles.add(file.name());
    heldUsage = heldUsage.plus(file.usage());
    for (DistillationRow row : rows) {
      int topK = row.topkIds() == null || row.topkIds().length == 0 ? 0 : row.topkIds()[0].length;
      int tokens = row.completionIds() == null ? 0 : row.completionIds().length;
      heldValues += row.completion().length() + tokens * (2L * topK + 3);
    }
  }

  /** One file for many; in between both are there, and readers count the joined one. */
  private void join() throws IOException {
    if (heldFiles.size() > 1) {
      write(AnswerFile.of(id, firstHeld, nextFile - 1, held.size(), heldUsage), held);
      for (String file : heldFiles) {
        store.delete(file);
      }
    }
    held.clear();
    heldFiles.clear();
    firstHeld = nextFile;
    heldUsage = TokenUsage.NONE;
    heldValues = 0;
  }

  @Override
  public void failed(TeacherRequest request, String reason) {
    failureListener.accept(request, reason);
  }

  /** Joins the last files, when all answers are there. */
  public void finish() throws IOException {
    commit();
    synchronized (writing) {
      join();
    }
  }

  /**
   * Writes what is left. Nothing is joined here: a task that was stopped must not delete what the
   * run after it may be reading already.
   */
  @Override
  public void close() throws IOException {
    commit();
  }
}
