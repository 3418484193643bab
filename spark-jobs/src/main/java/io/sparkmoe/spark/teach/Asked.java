package io.sparkmoe.spark.teach;

import io.sparkmoe.distill.TeacherFailure;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;

/** What a task that asked has to report; a class with fields, which Kryo can copy. */
final class Asked implements Serializable {

  private static final long serialVersionUID = 1;

  /** Reasons that are told in full. */
  private static final int MAX_REASONS = 5;

  private long failed;
  private final ArrayList<String> reasons = new ArrayList<>();
  private TeacherFailure.Kind stopKind;
  private String stopReason;
  private boolean again;

  /** A task that must not begin: an earlier attempt of it has asked already. */
  static Asked again() {
    Asked asked = new Asked();
    asked.again = true;
    return asked;
  }

  synchronized void failed(String reason) {
    failed++;
    if (reasons.size() < MAX_REASONS && !reasons.contains(reason)) {
      reasons.add(reason);
    }
  }

  void stopped(TeacherFailure failure) {
    stopKind = failure.kind();
    stopReason = failure.getMessage();
  }

  /** Adds another task's report. */
  void add(Asked other) {
    failed += other.failed;
    for (String reason : other.reasons) {
      if (reasons.size() < MAX_REASONS && !reasons.contains(reason)) {
        reasons.add(reason);
      }
    }
    if (stopReason == null) {
      stopKind = other.stopKind;
      stopReason = other.stopReason;
    }
    again |= other.again;
  }

  long failed() {
    return failed;
  }

  List<String> reasons() {
    return List.copyOf(reasons);
  }

  /** Why asking ended before the end, null = it did not. */
  TeacherFailure stop() {
    return stopReason == null ? null : new TeacherFailure(stopKind, stopReason);
  }

  boolean isAgain() {
    return again;
  }
}
