package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FatalRunException;
import java.io.Serializable;
import java.util.List;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.SparkEnv;
import scala.Tuple2;
import scala.collection.Iterator;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction1;

/**
 * The body of each barrier task: join the attempt, run the rank's task, tell the others how it
 * ended.
 */
final class RankFunction<T>
    extends AbstractFunction1<Iterator<T>, Iterator<Tuple2<Integer, byte[]>>>
    implements Serializable {

  private static final long serialVersionUID = 1;

  private final RunTicket ticket;
  private final RankTask<T> task;

  RankFunction(RunTicket ticket, RankTask<T> task) {
    this.ticket = ticket;
    this.task = task;
  }

  @Override
  public Iterator<Tuple2<Integer, byte[]>> apply(Iterator<T> rows) {
    BarrierTaskContext spark = BarrierTaskContext.get();
    SparkEnv env = SparkEnv.get();
    RankContext context =
        new RankContext(
            spark.partitionId(),
            ticket.numRanks(),
            spark.stageAttemptNumber(),
            env.executorId(),
            env.blockManager().blockManagerId().host(),
            spark.cpus());
    try (SparkCommunicator communicator =
        RankJoin.join(ticket, context, SparkTransport::ofThisProcess)) {
      byte[] result = run(communicator, rows, context);
      return CollectionConverters.asScala(List.of(new Tuple2<>(context.rank(), result)).iterator());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(
          "rank " + context.rank() + " was interrupted while it joined", e);
    }
  }

  private byte[] run(SparkCommunicator communicator, Iterator<T> rows, RankContext context) {
    try {
      RankPreflight.check(context);
      return task.run(communicator, CollectionConverters.asJava(rows), context);
    } catch (FatalRunException e) {
      communicator.abortRun(Failure.of(context.rank(), e));
      throw e;
    } catch (Error e) {
      communicator.abort(Failure.of(context.rank(), e));
      throw e;
    } catch (Exception e) {
      communicator.abort(Failure.of(context.rank(), e));
      throw e instanceof RuntimeException unchecked
          ? unchecked
          : new IllegalStateException(e.getMessage(), e);
    }
  }
}
