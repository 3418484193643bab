package io.sparkmoe.moe;

import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Which tokens go to which rank. A token goes once to every rank that owns at least one of its
 * experts. Legend: T tokens of this rank, K experts of a token, S copies sent (over all ranks, this
 * one included).
 *
 * <p>Everything is ordered by destination rank, then token, then expert: tokens of rank r are
 * [tokenStarts[r], tokenStarts[r+1]) and its (token, expert) pairs [pairStarts[r],
 * pairStarts[r+1]).
 */
final class SendPlan {

  /** Token of each copy, I32 (S). */
  final Tensor tokens;

  /** Where each pair stands in the routing, t * K + k, I32 (T*K). */
  final Tensor slots;

  final int[] tokenStarts;
  final int[] pairStarts;

  private SendPlan(Tensor tokens, Tensor slots, int[] tokenStarts, int[] pairStarts) {
    this.tokens = tokens;
    this.slots = slots;
    this.tokenStarts = tokenStarts;
    this.pairStarts = pairStarts;
  }

  /**
   * @param ids I32 (T, K), ascending within a token
   * @throws IllegalArgumentException when an id is out of range or ids do not ascend
   */
  static SendPlan of(Tensor ids, ExpertPlacement placement, Scope scope) {
    int numTokens = ids.dim(0);
    int topK = ids.dim(1);
    int numRanks = placement.numRanks();
    int[] rankOf = new int[placement.numExperts()];
    for (int expert = 0; expert < rankOf.length; expert++) {
      rankOf[expert] = placement.rankOf(expert);
    }
    int[] tokenStarts = new int[numRanks + 1];
    int[] pairStarts = new int[numRanks + 1];
    for (int token = 0; token < numTokens; token++) {
      int lastId = -1;
      int lastRank = -1;
      for (int k = 0; k < topK; k++) {
        int id = ids.getInt(token * topK + k);
        if (id <= lastId || id >= rankOf.length) {
          throw new IllegalArgumentException(
              "expert ids of a token must ascend within [0, "
                  + rankOf.length
                  + "), token "
                  + token
                  + " has "
                  + id
                  + " after "
                  + lastId);
        }
        // Experts ascend and ranks own contiguous blocks, so a rank's experts of a token are
        // neighbours.
        pairStarts[rankOf[id] + 1]++;
        if (rankOf[id] != lastRank) {
          tokenStarts[rankOf[id] + 1]++;
        }
        lastId = id;
        lastRank = rankOf[id];
      }
    }
    for (int rank = 0; rank < numRanks; rank++) {
      tokenStarts[rank + 1] += tokenStarts[rank];
      pairStarts[rank + 1] += pairStarts[rank];
    }
    SendPlan plan =
        new SendPlan(
            scope.allocate(DType.I32, tokenStarts[numRanks]),
            scope.allocate(DType.I32, numTokens * topK),
            tokenStarts,
            pairStarts);
    plan.fill(ids, rankOf);
    return plan;
  }

  private void fill(Tensor ids, int[] rankOf) {
    int topK = ids.dim(1);
    int[] nextToken = tokenStarts.clone();
    int[] nextPair = pairStarts.clone();
    for (int token = 0; token < ids.dim(0); token++) {
      int lastRank = -1;
      for (int k = 0; k < topK; k++) {
        int slot = token * topK + k;
        int rank = rankOf[ids.getInt(slot)];
        slots.setInt(nextPair[rank]++, slot);
        if (rank != lastRank) {
          tokens.setInt(nextToken[rank]++, token);
        }
        lastRank = rank;
      }
    }
  }

  int numTokens(int rank) {
    return tokenStarts[rank + 1] - tokenStarts[rank];
  }

  int numPairs(int rank) {
    return pairStarts[rank + 1] - pairStarts[rank];
  }

  /** Pairs over all ranks. */
  int numPairs() {
    return slots.size();
  }

  /** Tokens that go to the rank, I32. */
  Tensor tokensTo(int rank) {
    return tokens.view(tokenStarts[rank], numTokens(rank));
  }
}
