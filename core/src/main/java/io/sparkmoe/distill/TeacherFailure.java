package io.sparkmoe.distill;

/**
 * Asking that cannot go on: a key that is refused, an endpoint that does not answer, a budget that
 * is spent, answers that cannot be written down. The message is one sentence.
 */
public final class TeacherFailure extends RuntimeException {

  private static final long serialVersionUID = 1;

  /** Whose matter it is. */
  public enum Kind {
    /** Wrong key, address or setting: nothing was asked that could be answered. */
    WRONG_INPUT,
    /** The budget is spent; the same command goes on once it is raised. */
    BUDGET_SPENT,
    /** The other side failed; the same command may succeed later. */
    UNAVAILABLE,
    /** This side failed: a task, its process, or the disk that answers go to. */
    ASKING_FAILED
  }

  private final Kind kind;

  public TeacherFailure(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
