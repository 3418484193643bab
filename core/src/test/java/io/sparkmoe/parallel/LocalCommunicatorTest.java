package io.sparkmoe.parallel;

import java.time.Duration;

class LocalCommunicatorTest extends CommunicatorContract {

  @Override
  protected Ends open(int ranks, Duration deadline) {
    LocalCommunicator.Group group = LocalCommunicator.group(ranks, deadline);
    return new Ends() {
      @Override
      public Communicator driver() {
        return group.driver();
      }

      @Override
      public Communicator rank(int rank) {
        return group.rank(rank);
      }

      @Override
      public void close() {
        group.close();
      }
    };
  }
}
