package io.sparkmoe.spark.job;

import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.ModelTeacher;
import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.Teacher;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TeacherModel;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.spark.teach.TeacherSpec;
import java.io.IOException;
import java.io.Serializable;
import java.util.List;

/**
 * A model that every task loads for itself.
 *
 * @param identity which model it is
 * @param tokenizerJson of it
 * @param sampling how it is to answer
 * @param loader reads the model
 * @param offHeapBytes what it takes
 */
record ModelTeacherSpec(
    TeacherIdentity identity,
    String tokenizerJson,
    SamplingSettings sampling,
    Loader loader,
    long offHeapBytes)
    implements TeacherSpec {

  ModelTeacherSpec {
    if (sampling.topK() > identity.vocabSize()) {
      throw new IllegalArgumentException(
          "wrong --top-k: got "
              + sampling.topK()
              + ", expected at most the "
              + identity.vocabSize()
              + " tokens of "
              + identity.name()
              + "; correct it");
    }
  }

  /** Reads a model in a task. */
  interface Loader extends Serializable {
    TeacherModel load(SamplingSettings sampling, Tokenizer tokenizer, int threads)
        throws IOException;
  }

  @Override
  public String form() {
    return null;
  }

  @Override
  public boolean isRemote() {
    return false;
  }

  /** Any: models trained on plain text hardly ever end theirs. */
  @Override
  public List<String> goodFinishReasons() {
    return List.of();
  }

  @Override
  public void requireAskable(Prompt prompt) {
    if (!prompt.isConversation()) {
      return;
    }
    if (identity.templateSha256() == null) {
      throw new IllegalArgumentException(
          identity.name()
              + " is a model of plain text, without a chat template: got messages, expected a"
              + " column prompt with text; write the conversation as the text that it was trained"
              + " on");
    }
    ChatTemplate.requireRoles(prompt.messages());
  }

  @Override
  public int maxAskers() {
    return Integer.MAX_VALUE;
  }

  @Override
  public Teacher open(int asker, int askers, int threads, TokenUsage spent) throws IOException {
    Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson);
    try {
      return new ModelTeacher(
          identity, sampling, tokenizer, loader.load(sampling, tokenizer, threads));
    } catch (IOException | RuntimeException e) {
      tokenizer.close();
      throw e;
    }
  }
}
