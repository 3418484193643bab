/**
 * The parts of the job that asks teachers: who is asked, by which tasks, and what of the answers is
 * kept. Start at {@link io.sparkmoe.spark.teach.AnswerRun}.
 */
package io.sparkmoe.spark.teach;
