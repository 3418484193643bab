package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.distill.http.Reply.Chance;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Parts that both forms of reply share. */
final class ReplyJson {

  /** What endpoints write for "too small to say", and everything below it. */
  private static final double SMALL = -9999;

  private ReplyJson() {}

  static JsonNode firstChoice(JsonNode reply) throws MalformedReplyException {
    JsonNode error = reply.path("error");
    if (!error.isMissingNode() && !error.isNull()) {
      String text = errorText(error);
      throw new MalformedReplyException("it reports " + (text.isBlank() ? "an error" : text));
    }
    JsonNode choice = reply.path("choices").path(0);
    if (!choice.isObject()) {
      throw new MalformedReplyException("it has no choices");
    }
    return choice;
  }

  /** What an error says, as an object or plainly; empty when it says nothing. */
  static String errorText(JsonNode error) {
    return error.isTextual() ? error.asText() : error.path("message").asText("");
  }

  static TokenUsage usage(JsonNode reply) {
    JsonNode usage = reply.path("usage");
    JsonNode prompt = usage.path("prompt_tokens");
    JsonNode completion = usage.path("completion_tokens");
    return prompt.canConvertToLong() && completion.canConvertToLong()
        ? new TokenUsage(Math.max(0, prompt.asLong()), Math.max(0, completion.asLong()))
        : null;
  }

  /** The text of a field, null when it is missing, null or empty. */
  static String textOrNull(JsonNode object, String field) {
    String text = object.path(field).asText("");
    return object.path(field).isTextual() && !text.isEmpty() ? text : null;
  }

  static Chance chance(byte[] bytes, JsonNode logprob) throws MalformedReplyException {
    if (!logprob.isNumber() || logprob.asDouble() > 1e-3) {
      throw new MalformedReplyException("it has the log-probability " + logprob);
    }
    double value = logprob.asDouble();
    return new Chance(bytes, value <= SMALL ? Float.NaN : (float) Math.min(0, value));
  }

  /** Most probable first; those of which nothing is said are left out. */
  static List<Chance> ranked(List<Chance> chances) {
    List<Chance> ranked = new ArrayList<>(chances);
    ranked.removeIf(chance -> Float.isNaN(chance.logprob()));
    ranked.sort(Comparator.comparingDouble(chance -> -chance.logprob()));
    return ranked;
  }

  /** Bytes of a token: as listed, or else of its text. */
  static byte[] bytes(JsonNode token) throws MalformedReplyException {
    JsonNode listed = token.path("bytes");
    if (!listed.isArray()) {
      if (!token.path("token").isTextual()) {
        throw new MalformedReplyException("a token has no text");
      }
      return token.path("token").asText().getBytes(StandardCharsets.UTF_8);
    }
    byte[] bytes = new byte[listed.size()];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) listed.path(i).asInt();
    }
    return bytes;
  }
}
