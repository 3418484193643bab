package io.sparkmoe.distill.http;

import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TokenUsage;
import java.util.Locale;

/**
 * Keeps to the limits: a request is asked only when its worst case still fits. Several threads
 * share one.
 */
final class Budget {

  private final BudgetLimits limits;
  private TokenUsage spent = TokenUsage.NONE;
  private TokenUsage reserved = TokenUsage.NONE;

  Budget(BudgetLimits limits) {
    this.limits = limits;
  }

  /**
   * Sets aside a request's worst case; waits while only requests that are under way stand against
   * it.
   *
   * @throws TeacherFailure when it does not fit
   */
  synchronized void reserve(TokenUsage worst) throws InterruptedException {
    while (!fits(spent.plus(reserved).plus(worst))) {
      if (reserved.total() == 0) {
        throw spentAll(worst);
      }
      wait();
    }
    reserved = reserved.plus(worst);
  }

  /** Replaces a reserved worst case by what a request did cost. */
  synchronized void settle(TokenUsage worst, TokenUsage actual) {
    reserved =
        new TokenUsage(
            reserved.promptTokens() - worst.promptTokens(),
            reserved.completionTokens() - worst.completionTokens());
    spent = spent.plus(actual);
    notifyAll();
  }

  private boolean fits(TokenUsage usage) {
    return (limits.maxTokens() == 0 || usage.total() <= limits.maxTokens())
        && (limits.maxMoney() == 0 || limits.money(usage) <= limits.maxMoney());
  }

  private TeacherFailure spentAll(TokenUsage worst) {
    return new TeacherFailure(
        TeacherFailure.Kind.BUDGET_SPENT,
        String.format(
            Locale.ROOT,
            "the budget is spent: this asker used %d tokens (%.4f in money) of its share and the"
                + " next request may take %d more, expected at most %d tokens and %.4f in money (0 ="
                + " no limit); raise --budget-tokens or --budget-money and run the same command"
                + " again",
            spent.total(),
            limits.money(spent),
            worst.total(),
            limits.maxTokens(),
            limits.maxMoney()));
  }
}
