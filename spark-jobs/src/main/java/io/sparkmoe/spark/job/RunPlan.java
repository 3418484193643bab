package io.sparkmoe.spark.job;

import io.sparkmoe.data.RowOrder;
import io.sparkmoe.spark.data.TrainingRows;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunFolder;
import java.io.IOException;

/**
 * A training run before it is known where it will run.
 *
 * @param config resolved config
 * @param configYaml the same as the run's folder will hold it, origins included
 * @param dataset rows to train and evaluate on
 * @param folder the run's folder
 * @param resume where to start
 */
record RunPlan(
    RunConfig config, String configYaml, TrainingRows dataset, RunFolder folder, Resume resume) {

  RowOrder rowOrder() {
    return new RowOrder(
        dataset.numTrainRows(), config.train().batchSequences(), config.train().seed());
  }

  /** Writes config and tokenizer, when nothing can be wrong with the input any more. */
  void writeInputs() throws IOException {
    folder.writeInputs(configYaml, dataset.tokenizerJson());
  }
}
