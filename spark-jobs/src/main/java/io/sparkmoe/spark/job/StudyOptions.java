package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;
import java.util.function.IntFunction;

/**
 * What {@code moe bench distill} is asked for.
 *
 * @param text file with the text
 * @param out new folder for the teacher, its rows and the table
 * @param teacher configuration of the teacher; its vocabulary is the text's
 * @param student configuration of the students, by seed
 * @param seeds students of each arm
 * @param topK tokens that the teacher stores for each position
 * @param threads threads, 0 = one for each core
 */
public record StudyOptions(
    String text,
    String out,
    ResolvedConfig teacher,
    IntFunction<ResolvedConfig> student,
    int seeds,
    int topK,
    int threads) {}
