package io.sparkmoe.train;

import io.sparkmoe.train.protocol.StepCounts;
import io.sparkmoe.train.protocol.StepEnd;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import io.sparkmoe.train.protocol.StepOrder;
import io.sparkmoe.train.protocol.StepReport;
import java.util.List;

/**
 * All that the coordinator learned in one step.
 *
 * @param counts over all ranks
 * @param reports by rank
 * @param order what the ranks were told
 * @param gradNorm global gradient norm before clipping
 * @param loads tokens by MoE layer and expert, (L, E)
 * @param ends by rank
 * @param evaluation over all ranks, null when there was none
 */
record StepResult(
    StepCounts counts,
    List<StepReport> reports,
    StepOrder order,
    double gradNorm,
    long[][] loads,
    List<StepEnd> ends,
    Evaluation evaluation) {}
