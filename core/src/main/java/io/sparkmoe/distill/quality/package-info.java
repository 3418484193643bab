/**
 * Which answers are worth learning from: limits, and the measures behind them. Start at {@link
 * io.sparkmoe.distill.quality.QualityLimits}.
 */
package io.sparkmoe.distill.quality;
