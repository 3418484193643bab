package io.sparkmoe.distill;

import java.io.Serializable;
import java.util.Objects;

/**
 * Which model a teacher is.
 *
 * @param name as its owner calls it, such as deepseek-reasoner or the folder of a checkpoint
 * @param revision which version: a checksum of weights or what an endpoint calls it; null = not
 *     known
 * @param tokenizerSha256 of the tokenizer.json that its ids belong to; null = its ids are not known
 * @param templateSha256 of the chat template that it writes conversations with; null = it has none,
 *     or that is not known
 * @param vocabSize ids of that tokenizer; 0 when they are not known
 */
public record TeacherIdentity(
    String name, String revision, String tokenizerSha256, String templateSha256, int vocabSize)
    implements Serializable {

  public TeacherIdentity {
    Objects.requireNonNull(name);
  }

  /** Without a chat template. */
  public TeacherIdentity(String name, String revision, String tokenizerSha256, int vocabSize) {
    this(name, revision, tokenizerSha256, null, vocabSize);
  }

  /** The same with a chat template. */
  public TeacherIdentity withTemplate(String sha256) {
    return new TeacherIdentity(name, revision, tokenizerSha256, sha256, vocabSize);
  }
}
