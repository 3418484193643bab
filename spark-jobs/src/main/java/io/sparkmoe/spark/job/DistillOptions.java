package io.sparkmoe.spark.job;

/**
 * What {@code moe distill} is asked for.
 *
 * @param training the run; its data is a folder of distillation rows
 * @param tokenizer the student's: {@code byte} or the path of a tokenizer.json; null = the one
 *     beside the rows
 * @param validation share of the rows that is held out
 */
public record DistillOptions(TrainOptions training, String tokenizer, double validation) {}
