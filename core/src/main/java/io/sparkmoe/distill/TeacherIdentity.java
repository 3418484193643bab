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
 * @param vocabSize ids of that tokenizer; 0 when they are not known
 */
public record TeacherIdentity(String name, String revision, String tokenizerSha256, int vocabSize)
    implements Serializable {

  public TeacherIdentity {
    Objects.requireNonNull(name);
  }
}
