package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Communicator;

/** What the driver does during each attempt, on its own thread, while the ranks run. */
public interface DriverTask {

  /**
   * Runs the driver's side of one attempt. When it returns, the run is complete: ranks may still
   * return their results, but none that fails after that is run again.
   *
   * @param driverEnd the driver's end; closed by the caller
   * @param attempt 0 for the first attempt of the stage
   * @throws io.sparkmoe.parallel.RankLostException or {@link
   *     io.sparkmoe.parallel.RankLateException} as received from the communicator, to let Spark try
   *     again; any other exception ends the run without another attempt, because the driver that
   *     would repeat it is the same
   */
  void run(Communicator driverEnd, int attempt) throws Exception;
}
