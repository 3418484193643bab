/**
 * What students learn from: packed rows made of a teacher's, and a study that shows on real text
 * what each loss is worth. Start at {@link io.sparkmoe.distill.student.DistillationStudy}.
 */
package io.sparkmoe.distill.student;
