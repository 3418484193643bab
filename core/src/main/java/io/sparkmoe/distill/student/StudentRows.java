package io.sparkmoe.distill.student;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.train.DistillConfig;
import io.sparkmoe.train.DistillConfig.Loss;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Which packed row every token of a distillation dataset lands in, as a function of the rows' ids
 * alone: neither the order of files nor the number of executors matters. Rows are spread over
 * buckets by their ids, sorted by id within a bucket, and packed bucket by bucket. Built by {@link
 * #add} of every row, which also refuses what the student cannot learn from; then {@link #close}
 * counts.
 */
public final class StudentRows implements Serializable {

  private static final long serialVersionUID = 1;

  /** Tokens that one task packs, about. */
  private static final long BUCKET_TOKENS = 1L << 22;

  private static final int MAX_BUCKETS = 1024;

  private final String location;
  private final String tokenizerSha256;
  private final int vocabSize;
  private final int seqLen;
  private final double validationShare;
  private final DistillConfig distill;

  private final long[] trainTokens = new long[MAX_BUCKETS];
  private transient Set<String> seen = new HashSet<>();
  private long numRows;
  private long validationTokens;
  private long validationLearned;
  private long validationBytes;
  private int topK;
  private long[] firstRow;

  /**
   * @param location of the dataset, for messages
   * @param tokenizer of the student
   * @param seqLen inputs of a row
   * @param validationShare share of the rows that is held out
   */
  public StudentRows(
      String location,
      Tokenizer tokenizer,
      int seqLen,
      double validationShare,
      DistillConfig distill) {
    this.location = location;
    this.tokenizerSha256 = tokenizer.sha256();
    this.vocabSize = tokenizer.vocabSize();
    this.seqLen = seqLen;
    this.validationShare = validationShare;
    this.distill = distill;
  }

  /**
   * Takes a row into account.
   *
   * @throws IllegalArgumentException when the student cannot learn from it, in one sentence
   */
  public void add(DistillationRow row, Tokenizer tokenizer) {
    require(row);
    numRows++;
    StudentSequence sequence = sequence(row, tokenizer);
    int n = sequence.tokens().length;
    if (isHeldOut(row.id())) {
      validationTokens += n;
      for (int i = 0; i < n; i++) {
        validationLearned += sequence.learned()[i] ? 1 : 0;
      }
      validationBytes += bytes(row, tokenizer) + (sequence.learned()[n - 1] ? 1 : 0);
    } else {
      trainTokens[(int) (hash(row.id()) & (MAX_BUCKETS - 1))] += n;
    }
    if (distill.readsTeacher()) {
      for (int[] ids : row.topkIds()) {
        topK = Math.max(topK, ids.length);
      }
    }
  }

  /** All rows have been added. */
  public StudentRows close() {
    seen = null;
    int buckets = numBuckets();
    long[] tokens = new long[buckets];
    for (int fine = 0; fine < MAX_BUCKETS; fine++) {
      tokens[fine & (buckets - 1)] += trainTokens[fine];
    }
    firstRow = new long[buckets + 1];
    for (int b = 0; b < buckets; b++) {
      firstRow[b + 1] = firstRow[b] + StudentPacker.numRows(tokens[b], seqLen);
    }
    return this;
  }

  /** A power of two, so that a bucket is the low bits of a hash. */
  private int numBuckets() {
    long wanted = Arrays.stream(trainTokens).sum() / BUCKET_TOKENS;
    return (int) Math.min(MAX_BUCKETS, Math.max(1, Long.highestOneBit(wanted)));
  }

  /** Buckets of the training rows. */
  public int buckets() {
    return firstRow.length - 1;
  }

  /** The bucket that a row is packed in. */
  public int bucketOf(String id) {
    return (int) (hash(id) & (buckets() - 1));
  }

  /** Whether a row is for validation. */
  public boolean isHeldOut(String id) {
    return (mix(hash(id)) >>> 11) * 0x1p-53 < validationShare;
  }

  /** Rows that were added. */
  public long numRows() {
    return numRows;
  }

  /** Most tokens that the teacher stored of a position; 0 when the loss reads none. */
  public int teacherTopK() {
    return topK;
  }

  /** Tokens of all rows. */
  public long numTokens() {
    return Arrays.stream(trainTokens).sum() + validationTokens;
  }

  /** Packed rows to train on. */
  public long numTrainRows() {
    return firstRow[buckets()];
  }

  /** Packed rows to evaluate on. */
  public long numValidationRows() {
    return StudentPacker.numRows(validationTokens, seqLen);
  }

  /** Bytes of text in a token of the validation rows that is learnt; 0 without any. */
  public double validationBytesPerToken() {
    return validationLearned == 0 ? 0 : (double) validationBytes / validationLearned;
  }

  /** A row as the student reads it. */
  public StudentSequence sequence(DistillationRow row, Tokenizer tokenizer) {
    return StudentSequence.of(row, tokenizer, distill.maskPrompt());
  }

  /**
   * Packs one bucket.
   *
   * @param rows its training rows, ascending by id
   */
  public void packBucket(int bucket, Iterator<StudentSequence> rows, Consumer<TokenRow> packed) {
    StudentPacker packer = new StudentPacker(seqLen, topK, firstRow[bucket], packed);
    pack(packer, rows);
  }

  /** Packs the validation rows, without what their teacher stored: they are evaluated as text. */
  public List<TokenRow> packValidation(List<DistillationRow> rows, Tokenizer tokenizer) {
    List<TokenRow> packed = new ArrayList<>();
    List<DistillationRow> sorted = new ArrayList<>(rows);
    sorted.sort(Comparator.comparing(DistillationRow::id));
    pack(
        new StudentPacker(seqLen, 0, 0, packed::add),
        sorted.stream().map(row -> sequence(row, tokenizer)).iterator());
    return packed;
  }

  private static void pack(StudentPacker packer, Iterator<StudentSequence> rows) {
    rows.forEachRemaining(packer::add);
    packer.flush();
  }

  private void require(DistillationRow row) {
    String where = "row " + row.id() + " of " + location;
    if (!seen.add(row.id())) {
      throw new IllegalArgumentException(
          where + " is there twice, expected every id once; remove one of the two");
    }
    String sha256 = row.tokenizerSha256();
    if (sha256 != null && !sha256.equals(tokenizerSha256)) {
      throw new IllegalArgumentException(
          where
              + " has ids of the tokenizer with SHA-256 "
              + sha256
              + ", the student's has "
              + tokenizerSha256
              + "; give --tokenizer that of the teacher, or teach again");
    }
    String template = row.templateSha256();
    if (template != null && !template.equals(ChatTemplate.sha256())) {
      throw new IllegalArgumentException(
          where
              + " has ids of the chat template with SHA-256 "
              + template
              + ", the student's has "
              + ChatTemplate.sha256()
              + "; teach again");
    }
    if (row.promptIds() == null && StudentSequence.isConversation(row)) {
      requireConversation(where, row);
    }
    requireIds(where, row.promptIds());
    requireIds(where, row.completionIds());
    if (distill.readsTeacher()) {
      requireTopk(where, row);
    }
  }

  /** Refuses a conversation that the student cannot write as text. */
  private static void requireConversation(String where, DistillationRow row) {
    List<ChatMessage> messages = row.messages();
    String last = messages.isEmpty() ? "no message" : messages.get(messages.size() - 1).role();
    if (!last.equals(ChatMessage.ASSISTANT)) {
      throw new IllegalArgumentException(
          where
              + " is a conversation that ends with "
              + last
              + ", expected the assistant's answer as its last message; add it");
    }
    try {
      ChatTemplate.requireRoles(StudentSequence.conversation(row));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          where + " cannot be written as text, since " + e.getMessage(), e);
    }
  }

  private void requireTopk(String where, DistillationRow row) {
    if (row.topkIds() == null) {
      throw new IllegalArgumentException(
          where
              + " has no topk_ids and topk_logprobs, distill.loss="
              + distill.lossName()
              + " needs them; set distill.loss=cross_entropy, or teach with --top-k");
    }
    for (int i = 0; i < row.topkIds().length; i++) {
      int[] ids = row.topkIds()[i];
      requireIds(where, ids);
      if (Arrays.stream(ids).distinct().count() != ids.length) {
        throw new IllegalArgumentException(
            where + " names a token twice at position " + i + ", expected distinct topk_ids");
      }
      if (distill.loss() == Loss.FORWARD_KL && ids.length != vocabSize) {
        throw new IllegalArgumentException(
            where
                + " stores "
                + ids.length
                + " tokens at position "
                + i
                + ", distill.loss=forward_kl needs all "
                + vocabSize
                + "; set distill.loss=bucket");
      }
    }
  }

  private void requireIds(String where, int[] ids) {
    for (int i = 0; ids != null && i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabSize) {
        throw new IllegalArgumentException(
            where
                + " has token id "
                + ids[i]
                + ", the student's tokenizer has ids up to "
                + (vocabSize - 1)
                + "; give --tokenizer that of the teacher");
      }
    }
  }

  /** Bytes of the text that is learnt. */
  private long bytes(DistillationRow row, Tokenizer tokenizer) {
    String prompt = distill.maskPrompt() ? "" : StudentSequence.prompt(row, tokenizer);
    String learned = prompt + StudentSequence.completion(row);
    return learned.getBytes(StandardCharsets.UTF_8).length;
  }

  /** FNV-1a of the characters, mixed, so that low bits are as good as high ones. */
  private static long hash(String id) {
    long hash = 0xcbf29ce484222325L;
    for (int i = 0; i < id.length(); i++) {
      hash = (hash ^ id.charAt(i)) * 0x100000001b3L;
    }
    return mix(hash);
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
