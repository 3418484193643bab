package io.sparkmoe.train;

import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Communicator.Frame;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;

/**
 * Gates evaluated on the ranks: the driver sums their reports and sends out a snapshot every step.
 */
final class ExecutorGates implements GateRole {

  private final GateOwner owner;
  private final Communicator communicator;
  private final List<Tensor> received = new ArrayList<>();

  ExecutorGates(GateOwner owner, Communicator communicator, Arena arena) {
    this.owner = owner;
    this.communicator = communicator;
    for (ParameterBlock block : owner.blocks()) {
      received.add(arena.allocate(DType.F32, block.gradient().size()));
    }
  }

  @Override
  public BiConsumer<Integer, Frame> calls() {
    return null;
  }

  @Override
  public void collect(int step, RankInbox inbox, long[][] loads) {
    for (int rank = 0; rank < communicator.size(); rank++) {
      Frame report = inbox.next(rank, GateExchange.reportKey(step));
      GateExchange.readReport(report.payload(), loads, received);
      owner.addGradients(received);
    }
  }

  @Override
  public void publish(int step) {
    for (int rank = 0; rank < communicator.size(); rank++) {
      GateExchange.sendSnapshot(communicator, rank, step, owner.parameters());
    }
  }

  @Override
  public void close() {
    received.forEach(Tensor::close);
  }
}
