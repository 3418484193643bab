package io.sparkmoe.data;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;

/**
 * Trains ByteLevel BPE [1]: starting from the 256 bytes, the most frequent pair of neighbours
 * inside words becomes a new token, again and again. Counts are kept per pair and changed only for
 * the words that a merge touches; a priority queue with outdated entries, corrected when they
 * surface, gives the next pair. Among equally frequent pairs the one with the smaller ids wins, so
 * the result depends on the counts alone.
 *
 * <p>Ids: bytes are 0..255, merged tokens follow in the order of their rank, the end-of-text token
 * comes last.
 *
 * <p>[1] Sennrich et al., arXiv 1508.07909, algorithm 1; over bytes as in GPT-2.
 */
public final class BpeTrainer {

  /** The bytes and the end-of-text token: nothing smaller can be trained. */
  public static final int MIN_VOCAB_SIZE = 257;

  private static final int NUM_BYTES = 256;

  /** A pair seen once says nothing about the language. */
  private static final long MIN_PAIR_COUNT = 2;

  private record Candidate(long count, int left, int right) implements Comparable<Candidate> {
    @Override
    public int compareTo(Candidate other) {
      int byCount = Long.compare(other.count, count);
      int byLeft = byCount != 0 ? byCount : Integer.compare(left, other.left);
      return byLeft != 0 ? byLeft : Integer.compare(right, other.right);
    }
  }

  /** How often a pair occurs, and the words that held it at some time. */
  private static final class Occurrences {
    long count;

    /** The count of its newest entry in the queue. */
    long queuedCount;

    int[] words = new int[4];
    int numWords;

    void addWord(int word) {
      if (numWords > 0 && words[numWords - 1] == word) {
        return;
      }
      if (numWords == words.length) {
        words = Arrays.copyOf(words, 2 * numWords);
      }
      words[numWords++] = word;
    }
  }

  private final int[][] words;
  private final long[] wordCounts;
  private final Map<Long, Occurrences> pairs = new HashMap<>();
  private final PriorityQueue<Candidate> queue = new PriorityQueue<>();
  private final List<String> vocabulary = new ArrayList<>();
  private final Map<String, Integer> ids = new HashMap<>();
  private final List<String[]> merges = new ArrayList<>();

  private BpeTrainer(Map<String, Long> counts) {
    words = new int[counts.size()][];
    wordCounts = new long[counts.size()];
    for (int b = 0; b < NUM_BYTES; b++) {
      idOf(String.valueOf(ByteLevelAlphabet.characterOf(b)));
    }
    int word = 0;
    for (Map.Entry<String, Long> entry : counts.entrySet()) {
      byte[] bytes = entry.getKey().getBytes(StandardCharsets.UTF_8);
      int[] symbols = new int[bytes.length];
      for (int i = 0; i < bytes.length; i++) {
        symbols[i] = Byte.toUnsignedInt(bytes[i]);
      }
      words[word] = symbols;
      wordCounts[word++] = entry.getValue();
    }
  }

  /**
   * Trains a tokenizer.
   *
   * @param counts words and how often they occur, from {@link WordCounts}
   * @param vocabSize ids wanted, at least {@link #MIN_VOCAB_SIZE}; a text with too few repeated
   *     pairs gives fewer
   * @return the tokenizer.json, for {@link Tokenizers#fromJson}
   */
  public static String train(Map<String, Long> counts, int vocabSize) {
    if (vocabSize < MIN_VOCAB_SIZE) {
      throw new IllegalArgumentException(
          "BPE vocabulary size must be >= "
              + MIN_VOCAB_SIZE
              + " (256 bytes and end-of-text), got "
              + vocabSize);
    }
    BpeTrainer trainer = new BpeTrainer(counts);
    trainer.run(vocabSize - 1);
    return TokenizerJson.write(trainer.vocabulary, trainer.merges);
  }

  private void run(int numTokens) {
    for (int word = 0; word < words.length; word++) {
      for (int i = 0; i + 1 < words[word].length; i++) {
        gain(pair(words[word][i], words[word][i + 1]), word);
      }
    }
    pairs.forEach(this::enqueue);
    while (vocabulary.size() < numTokens && !queue.isEmpty()) {
      Candidate best = queue.poll();
      long pair = pair(best.left, best.right);
      Occurrences occurrences = pairs.get(pair);
      if (occurrences == null) {
        continue; // merged by a newer entry
      }
      if (occurrences.count == best.count) {
        merge(best.left, best.right, occurrences);
      } else {
        enqueue(pair, occurrences);
      }
    }
  }

  private void merge(int left, int right, Occurrences occurrences) {
    int merged = idOf(vocabulary.get(left) + vocabulary.get(right));
    merges.add(new String[] {vocabulary.get(left), vocabulary.get(right)});
    pairs.remove(pair(left, right));
    Set<Long> gained = new HashSet<>();
    for (int i = 0; i < occurrences.numWords; i++) {
      rewrite(occurrences.words[i], left, right, merged, gained);
    }
    // Only these can have gained; the others fell, and are corrected when they surface.
    for (long pair : gained) {
      Occurrences raised = pairs.get(pair);
      if (raised.count > raised.queuedCount) {
        enqueue(pair, raised);
      }
    }
  }

  /** The id of a token, a new one unless another pair already spells the same. */
  private int idOf(String token) {
    return ids.computeIfAbsent(
        token,
        t -> {
          vocabulary.add(t);
          return vocabulary.size() - 1;
        });
  }

  /** Replaces the pair in a word, from the left, and moves the counts of the pairs around it. */
  private void rewrite(int word, int left, int right, int merged, Set<Long> gained) {
    int[] symbols = words[word];
    int n = 0;
    for (int i = 0; i < symbols.length; i++) {
      if (symbols[i] != left || i + 1 == symbols.length || symbols[i + 1] != right) {
        symbols[n++] = symbols[i];
        continue;
      }
      i++;
      if (n > 0) {
        lose(pair(symbols[n - 1], left), word);
        gained.add(gain(pair(symbols[n - 1], merged), word));
      }
      if (i + 1 < symbols.length) {
        lose(pair(right, symbols[i + 1]), word);
        gained.add(gain(pair(merged, symbols[i + 1]), word));
      }
      symbols[n++] = merged;
    }
    if (n < symbols.length) {
      words[word] = Arrays.copyOf(symbols, n);
    }
  }

  private long gain(long pair, int word) {
    Occurrences occurrences = pairs.computeIfAbsent(pair, p -> new Occurrences());
    occurrences.count += wordCounts[word];
    occurrences.addWord(word);
    return pair;
  }

  private void lose(long pair, int word) {
    Occurrences occurrences = pairs.get(pair);
    if (occurrences != null) { // null: the pair that is being merged
      occurrences.count -= wordCounts[word];
    }
  }

  private void enqueue(long pair, Occurrences occurrences) {
    occurrences.queuedCount = occurrences.count;
    if (occurrences.count >= MIN_PAIR_COUNT) {
      queue.add(new Candidate(occurrences.count, (int) (pair >>> 32), (int) pair));
    }
  }

  private static long pair(int left, int right) {
    return (long) left << 32 | right;
  }
}
