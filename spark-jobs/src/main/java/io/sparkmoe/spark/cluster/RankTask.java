package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FatalRunException;
import java.io.Serializable;
import java.util.Iterator;

/**
 * What each rank does inside its barrier task. It travels to the executors in the task closure,
 * once per attempt.
 *
 * @param <T> type of the rank's rows
 */
public interface RankTask<T> extends Serializable {

  /**
   * Runs one attempt of the rank.
   *
   * @param communicator the rank's end; closed by the caller
   * @param rows the rank's partition, read lazily and once
   * @param context where the rank runs
   * @return the rank's result; small, it goes through a shuffle to the driver
   * @throws FatalRunException to end the run without another attempt; any other exception lets
   *     Spark try again
   */
  byte[] run(Communicator communicator, Iterator<T> rows, RankContext context) throws Exception;
}
