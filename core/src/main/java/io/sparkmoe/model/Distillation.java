package io.sparkmoe.model;

import io.sparkmoe.kernel.DistillationLoss;
import io.sparkmoe.kernel.TeacherTargets;

/**
 * What a student learns from besides the next tokens of a batch.
 *
 * @param teacher of every position of the batch, (B*S) rows
 * @param loss how the student is compared with it
 */
public record Distillation(TeacherTargets teacher, DistillationLoss loss) {}
