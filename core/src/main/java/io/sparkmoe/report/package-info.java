/**
 * What a person sees of a run: live progress, plots, and the closing report with its baselines and
 * measures of expert specialisation. Start at {@link io.sparkmoe.report.RunReport}.
 */
package io.sparkmoe.report;
