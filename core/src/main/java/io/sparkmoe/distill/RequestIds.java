package io.sparkmoe.distill;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.Sha256;
import java.nio.charset.StandardCharsets;

/**
 * Names requests so that a job that is run again knows what it has the answer to: the checksum of
 * everything that decides the answer, and of nothing else.
 */
public final class RequestIds {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Hex digits of an id: 96 bits, far beyond a chance meeting among billions of requests. */
  private static final int ID_DIGITS = 24;

  private final ObjectNode common;
  private final String templateSha256;

  /**
   * @param teacher model that is asked
   * @param settings how it is asked
   */
  public RequestIds(TeacherIdentity teacher, SamplingSettings settings) {
    templateSha256 = teacher.templateSha256();
    common = JSON.createObjectNode();
    common.put("teacher", teacher.name());
    common.put("revision", teacher.revision());
    common.put("tokenizer", teacher.tokenizerSha256());
    common.put("maxTokens", settings.maxTokens());
    common.put("temperature", settings.temperature());
    common.put("topP", settings.topP());
    common.put("topK", settings.topK());
    common.put("seed", settings.seed());
  }

  /**
   * The id of a request.
   *
   * @param sample number of the answer to this prompt, from 0
   */
  public String idOf(Prompt prompt, int sample) {
    ObjectNode request = common.deepCopy();
    // Where a prompt comes from does not change the answer.
    Prompt anywhere =
        new Prompt("", prompt.text(), prompt.messages(), prompt.completion(), prompt.window());
    request.put("prompt", anywhere.toJson());
    if (prompt.isConversation() && templateSha256 != null) {
      request.put("template", templateSha256);
    }
    request.put("sample", sample);
    return Sha256.hex(request.toString().getBytes(StandardCharsets.UTF_8)).substring(0, ID_DIGITS);
  }

  /**
   * The seed of a request: differs from request to request and does not depend on their order.
   *
   * @param id of the request
   */
  public static long seedOf(String id) {
    // 52 bits: endpoints read seeds as JSON numbers, which many parse as doubles.
    return Long.parseLong(id.substring(0, 13), 16);
  }
}
