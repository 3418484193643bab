package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.http.Reply.Chance;
import io.sparkmoe.distill.http.Reply.Token;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** The plain form: text that the model goes on from. */
final class CompletionsApi implements TeacherApi {

  @Override
  public void write(ObjectNode body, TeacherRequest request, int topK) {
    body.put("prompt", request.prompt().text());
    if (topK > 0) {
      body.put("logprobs", topK);
    }
  }

  @Override
  public List<ChatMessage> conversation(TeacherRequest request) {
    return null;
  }

  @Override
  public Reply read(JsonNode reply) throws MalformedReplyException {
    JsonNode choice = ReplyJson.firstChoice(reply);
    if (!choice.path("text").isTextual()) {
      throw new MalformedReplyException("its choice has no text");
    }
    return new Reply(
        choice.path("text").asText(),
        ReplyJson.textOrNull(choice, "reasoning_content"),
        ReplyJson.textOrNull(choice, "finish_reason"),
        tokens(choice.path("logprobs")),
        ReplyJson.usage(reply),
        ReplyJson.textOrNull(reply, "system_fingerprint"));
  }

  private static List<Token> tokens(JsonNode logprobs) throws MalformedReplyException {
    JsonNode texts = logprobs.path("tokens");
    if (!texts.isArray()) {
      return null;
    }
    JsonNode chances = logprobs.path("token_logprobs");
    JsonNode alternatives = logprobs.path("top_logprobs");
    if (chances.size() != texts.size()
        || alternatives.isArray() && alternatives.size() != texts.size()) {
      throw new MalformedReplyException("its tokens and log-probabilities differ in number");
    }
    List<Token> tokens = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      List<Chance> ranked = new ArrayList<>();
      Iterator<Map.Entry<String, JsonNode>> fields = alternatives.path(i).fields();
      while (fields.hasNext()) {
        Map.Entry<String, JsonNode> field = fields.next();
        ranked.add(ReplyJson.chance(bytes(field.getKey()), field.getValue()));
      }
      tokens.add(
          new Token(
              ReplyJson.chance(bytes(texts.path(i).asText()), chances.path(i)),
              ReplyJson.ranked(ranked)));
    }
    return tokens;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
