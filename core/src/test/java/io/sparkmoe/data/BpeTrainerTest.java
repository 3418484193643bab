package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class BpeTrainerTest {

  private static final long SEED = Long.getLong("moe.seed", 1);

  @Test
  void wordsEqualPythonsByteLevelPreTokenizer() {
    for (PythonCase expected : PythonCase.all()) {
      List<String> words = new ArrayList<>();
      PreTokenizer.split(expected.text(), words::add);
      assertThat(words).as(expected.text()).isEqualTo(expected.words());
    }
  }

  @Test
  void theMostFrequentPairIsMergedFirstAndTiesGoToTheSmallerIds() {
    // Pairs: ab 10, bc 3, cd 3, then with the token ab: (ab)c 3.
    List<String> merges = merges(Map.of("ab", 7L, "abc", 3L, "cd", 3L), 300);
    assertThat(merges).containsExactly("a b", "c d", "ab c");
  }

  @Test
  void aWordOfEqualLettersIsMergedFromTheLeft() {
    // aaaaa -> aa aa a; then (aa, a) and (aa, aa) are equally frequent, and a has the smaller id.
    assertThat(merges(Map.of("aaaaa", 5L), 300)).containsExactly("a a", "aa a", "aa aaa");
  }

  /**
   * Law: incremental counts and the queue give the merges of the plain algorithm, which counts anew
   * for every merge.
   */
  @Test
  void mergesEqualThePlainAlgorithms() {
    Random random = new Random(SEED);
    for (int round = 0; round < 20; round++) {
      Map<String, Long> counts = new TreeMap<>();
      for (int word = 0; word < 60; word++) {
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(9); i >= 0; i--) {
          text.append((char) ('a' + random.nextInt(3)));
        }
        counts.merge(text.toString(), 1L + random.nextInt(5), Long::sum);
      }
      assertThat(merges(counts, 330))
          .as("seed %d, round %d", SEED, round)
          .isEqualTo(plainMerges(counts, 330));
    }
  }

  @Test
  void theOrderOfTheCountsDoesNotMatter() {
    WordCounts counts = new WordCounts();
    PythonCase.all().forEach(example -> counts.add(example.text()));
    String json = BpeTrainer.train(new TreeMap<>(counts.asMap()), 400);
    assertThat(BpeTrainer.train(new TreeMap<>(counts.asMap()).descendingMap(), 400))
        .isEqualTo(json);
    try (Tokenizer tokenizer = Tokenizers.fromJson(json)) {
      assertThat(tokenizer.vocabSize()).isEqualTo(400);
      assertThat(tokenizer.endOfTextId()).isEqualTo(399);
      for (PythonCase example : PythonCase.all()) {
        assertThat(tokenizer.decode(tokenizer.encode(example.text()))).isEqualTo(example.text());
      }
    }
  }

  @Test
  void aVocabularyWithoutRoomForTheBytesIsRefused() {
    assertThatThrownBy(() -> BpeTrainer.train(Map.of("a", 1L), 256))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("BPE vocabulary size must be >= 257 (256 bytes and end-of-text), got 256");
  }

  private static List<String> merges(Map<String, Long> counts, int vocabSize) {
    JsonNode root = TokenizerJson.read(BpeTrainer.train(counts, vocabSize));
    List<String> merges = new ArrayList<>();
    root.path("model")
        .path("merges")
        .forEach(pair -> merges.add(pair.get(0).asText() + " " + pair.get(1).asText()));
    return merges;
  }

  private static List<String> plainMerges(Map<String, Long> counts, int vocabSize) {
    List<String> vocabulary = new ArrayList<>();
    for (int b = 0; b < 256; b++) {
      vocabulary.add(String.valueOf(ByteLevelAlphabet.characterOf(b)));
    }
    Map<List<String>, Long> words = new HashMap<>();
    counts.forEach((word, count) -> words.put(List.of(word.split("")), count));
    List<String> merges = new ArrayList<>();
    while (vocabulary.size() < vocabSize - 1) {
      Map<List<String>, Long> pairs = new HashMap<>();
      words.forEach(
          (word, count) -> {
            for (int i = 0; i + 1 < word.size(); i++) {
              pairs.merge(List.of(word.get(i), word.get(i + 1)), count, Long::sum);
            }
          });
      List<String> best = null;
      for (List<String> pair : pairs.keySet()) {
        if (pairs.get(pair) >= 2 && (best == null || before(pair, best, pairs, vocabulary))) {
          best = pair;
        }
      }
      if (best == null) {
        break;
      }
      String merged = best.get(0) + best.get(1);
      merges.add(best.get(0) + " " + best.get(1));
      if (!vocabulary.contains(merged)) {
        vocabulary.add(merged);
      }
      Map<List<String>, Long> rewritten = new HashMap<>();
      for (Map.Entry<List<String>, Long> word : words.entrySet()) {
        List<String> symbols = new ArrayList<>();
        for (int i = 0; i < word.getKey().size(); i++) {
          boolean match =
              i + 1 < word.getKey().size() && best.equals(word.getKey().subList(i, i + 2));
          symbols.add(match ? merged : word.getKey().get(i));
          i += match ? 1 : 0;
        }
        rewritten.merge(symbols, word.getValue(), Long::sum);
      }
      words.clear();
      words.putAll(rewritten);
    }
    return merges;
  }

  private static boolean before(
      List<String> pair,
      List<String> other,
      Map<List<String>, Long> counts,
      List<String> vocabulary) {
    int byCount = Long.compare(counts.get(other), counts.get(pair));
    int byLeft =
        byCount != 0 ? byCount : vocabulary.indexOf(pair.get(0)) - vocabulary.indexOf(other.get(0));
    return (byLeft != 0
            ? byLeft
            : vocabulary.indexOf(pair.get(1)) - vocabulary.indexOf(other.get(1)))
        < 0;
  }
}
