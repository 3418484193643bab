package io.sparkmoe.spark.data;

import io.sparkmoe.data.WordCounts;
import java.io.Serializable;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.storage.StorageLevel;
import scala.Tuple2;
import scala.Tuple3;

/**
 * All documents in their one order, each with its ordinal and its source. Every {@code
 * validationEvery}-th document, from the first on, is held out.
 */
public final class NumberedDocuments implements AutoCloseable {

  /** Words that BPE is trained on at most: far more than the driver's merges can tell apart. */
  private static final int MAX_WORDS = 2_000_000;

  private static final int MAX_SOURCES = 1 << 16;

  private final JavaRDD<Tuple3<Long, String, String>> documents;
  private final int validationEvery;
  private final List<Group> groups;

  /**
   * Documents of one source in one half of the dataset.
   *
   * @param validation whether they are held out
   * @param source name
   */
  record Group(boolean validation, String source) implements Serializable {}

  private NumberedDocuments(JavaRDD<Tuple3<Long, String, String>> documents, int validationEvery) {
    this.documents = documents;
    this.validationEvery = validationEvery;
    this.groups = groups();
  }

  /**
   * Sorts and numbers the documents.
   *
   * @param read from {@link DocumentReader#read}
   * @param validationEvery how many documents one is held out of, 0 = none is
   */
  public static NumberedDocuments of(
      JavaPairRDD<Long, Tuple2<String, String>> read, SourceRule rule, int validationEvery) {
    int parallelism = read.context().defaultParallelism();
    JavaRDD<Tuple3<Long, String, String>> documents =
        read.sortByKey(true, Math.max(2 * parallelism, read.getNumPartitions()))
            .values()
            .zipWithIndex()
            .mapPartitions(rows -> withSources(rows, rule))
            .persist(StorageLevel.MEMORY_AND_DISK());
    try {
      return new NumberedDocuments(documents, validationEvery);
    } catch (Exception e) { // Spark throws checked exceptions undeclared
      documents.unpersist(false);
      throw e;
    }
  }

  private static Iterator<Tuple3<Long, String, String>> withSources(
      Iterator<Tuple2<Tuple2<String, String>, Long>> rows, SourceRule rule) {
    LanguageDetector detector =
        rule.kind() == SourceRule.Kind.LANGUAGE ? new LanguageDetector(rule.languages()) : null;
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return rows.hasNext();
      }

      @Override
      public Tuple3<Long, String, String> next() {
        Tuple2<Tuple2<String, String>, Long> row = rows.next();
        String given = row._1._1;
        String text = row._1._2;
        String source =
            switch (rule.kind()) {
              case SINGLE -> SourceRule.SINGLE_SOURCE;
              case COLUMN -> given.isBlank() ? SourceRule.UNKNOWN_SOURCE : given;
              case LANGUAGE -> detector.languageOf(text);
            };
        return new Tuple3<>(row._2, source, text);
      }
    };
  }

  /** Training sources by name, then validation sources by name. */
  private List<Group> groups() {
    int every = validationEvery;
    Map<String, Long> counts =
        new TreeMap<>(
            documents.map(d -> (isHeldOut(d._1(), every) ? "1" : "0") + d._2()).countByValue());
    if (counts.isEmpty()) {
      throw new BadInputException(
          "input holds no text, only blank lines; check --input and --format");
    }
    if (counts.size() > MAX_SOURCES) {
      throw new BadInputException(
          "input has "
              + counts.size()
              + " sources, at most "
              + MAX_SOURCES
              + "; name a column with fewer values");
    }
    return counts.keySet().stream()
        .map(key -> new Group(key.charAt(0) == '1', key.substring(1)))
        .toList();
  }

  static boolean isHeldOut(long ordinal, int validationEvery) {
    return validationEvery > 0 && ordinal % validationEvery == 0;
  }

  /** (ordinal, source, text). */
  JavaRDD<Tuple3<Long, String, String>> documents() {
    return documents;
  }

  int validationEvery() {
    return validationEvery;
  }

  /** The groups that hold documents; a group's index here is its group in {@link SortKey}. */
  List<Group> groupList() {
    return groups;
  }

  /** Words of the training documents and how often they occur; of very many, the most frequent. */
  public Map<String, Long> wordCounts() {
    int every = validationEvery;
    JavaPairRDD<String, Long> counts =
        documents
            .filter(document -> !isHeldOut(document._1(), every))
            .mapPartitionsToPair(NumberedDocuments::countWords)
            .reduceByKey(Long::sum)
            .persist(StorageLevel.MEMORY_AND_DISK());
    try {
      Map<String, Long> words = new HashMap<>();
      if (counts.count() <= MAX_WORDS) {
        counts.collect().forEach(word -> words.put(word._1, word._2));
      } else {
        counts
            .takeOrdered(MAX_WORDS, new MostFrequentFirst())
            .forEach(word -> words.put(word._1, word._2));
      }
      return words;
    } finally {
      counts.unpersist(false);
    }
  }

  private static Iterator<Tuple2<String, Long>> countWords(
      Iterator<Tuple3<Long, String, String>> documents) {
    WordCounts counts = new WordCounts();
    documents.forEachRemaining(document -> counts.add(document._3()));
    return counts.asMap().entrySet().stream()
        .map(e -> new Tuple2<>(e.getKey(), e.getValue()))
        .iterator();
  }

  private static final class MostFrequentFirst
      implements Comparator<Tuple2<String, Long>>, Serializable {
    @Override
    public int compare(Tuple2<String, Long> left, Tuple2<String, Long> right) {
      int byCount = Long.compare(right._2, left._2);
      return byCount != 0 ? byCount : left._1.compareTo(right._1);
    }
  }

  @Override
  public void close() {
    documents.unpersist(false);
  }
}
