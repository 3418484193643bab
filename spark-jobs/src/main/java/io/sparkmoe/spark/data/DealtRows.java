package io.sparkmoe.spark.data;

import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.apache.spark.Partitioner;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import scala.Tuple2;

/** Brings every row that some steps consume to the rank that trains on it. */
final class DealtRows implements Serializable {

  private static final long serialVersionUID = 1;

  private final RowOrder order;
  private final long first;
  private final long end;

  /**
   * @param firstStep first step, from 1
   * @param lastStep last step, included
   */
  DealtRows(RowOrder order, int firstStep, int lastStep) {
    this.order = order;
    this.first = order.positionOf(firstStep);
    this.end = order.positionOf(lastStep + 1);
  }

  /** A row's bytes, once for each of its positions among the steps; a row comes in every epoch. */
  List<Tuple2<Long, byte[]>> consumed(TokenRow row, Function<TokenRow, byte[]> toBytes) {
    List<Tuple2<Long, byte[]>> consumed = new ArrayList<>();
    byte[] bytes = null;
    for (long epoch = first / order.numRows(); epoch * order.numRows() < end; epoch++) {
      long position = order.positionOf(epoch, row.rowId());
      if (position >= first && position < end) {
        bytes = bytes == null ? toBytes.apply(row) : bytes;
        consumed.add(new Tuple2<>(position, bytes));
      }
    }
    return consumed;
  }

  /** Partition r holds rank r's rows by ascending position. */
  JavaRDD<PositionedRow> deal(
      JavaPairRDD<Long, byte[]> consumed,
      int numRanks,
      org.apache.spark.api.java.function.Function<byte[], TokenRow> fromBytes) {
    return consumed
        .repartitionAndSortWithinPartitions(new Ranks(order, numRanks))
        .map(row -> new PositionedRow(row._1, fromBytes.call(row._2)));
  }

  /** Partition = rank. */
  private static final class Ranks extends Partitioner {
    private final RowOrder order;
    private final int numRanks;

    Ranks(RowOrder order, int numRanks) {
      this.order = order;
      this.numRanks = numRanks;
    }

    @Override
    public int numPartitions() {
      return numRanks;
    }

    @Override
    public int getPartition(Object position) {
      return order.rankOf((long) position, numRanks);
    }
  }
}
