/**
 * Teachers and what they leave behind: rows of text with log-probabilities that a student learns
 * from. Start at {@link io.sparkmoe.distill.Teacher} and {@link
 * io.sparkmoe.distill.DistillationRow}.
 */
package io.sparkmoe.distill;
