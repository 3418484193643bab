package io.sparkmoe.distill.http;

import io.sparkmoe.distill.TokenUsage;
import java.io.Serializable;

/**
 * What a teacher may cost.
 *
 * @param maxTokens tokens read and written at most; 0 = no limit
 * @param maxMoney most money, in the currency of the prices; 0 = no limit
 * @param promptPrice of a million tokens read
 * @param completionPrice of a million tokens written
 */
public record BudgetLimits(
    long maxTokens, double maxMoney, double promptPrice, double completionPrice)
    implements Serializable {

  /** No limit at all. */
  public static final BudgetLimits NONE = new BudgetLimits(0, 0, 0, 0);

  public BudgetLimits {
    if (maxTokens < 0 || !(maxMoney >= 0 && promptPrice >= 0 && completionPrice >= 0)) {
      throw new IllegalArgumentException(
          "budgets and prices must be at least 0, got "
              + maxTokens
              + " tokens, "
              + maxMoney
              + " money, prices "
              + promptPrice
              + " and "
              + completionPrice);
    }
    if (maxMoney > 0 && promptPrice == 0 && completionPrice == 0) {
      throw new IllegalArgumentException(
          "--budget-money is "
              + maxMoney
              + " but tokens have no price, expected --price-in and --price-out per million; give"
              + " them");
    }
  }

  /** What these tokens cost. */
  public double money(TokenUsage usage) {
    return (usage.promptTokens() * promptPrice + usage.completionTokens() * completionPrice) / 1e6;
  }

  /**
   * What one of several askers may spend, so that together they stay within the limits.
   *
   * @param spent by earlier runs
   * @param askers how many share what is left
   * @return limits of each; a limit that is reached already is as small as one can be
   */
  public BudgetLimits share(TokenUsage spent, int askers) {
    long tokens = maxTokens == 0 ? 0 : Math.max(1, (maxTokens - spent.total()) / askers);
    double money =
        maxMoney == 0 ? 0 : Math.max(Double.MIN_NORMAL, (maxMoney - money(spent)) / askers);
    return new BudgetLimits(tokens, money, promptPrice, completionPrice);
  }
}
