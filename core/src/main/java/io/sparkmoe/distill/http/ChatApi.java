package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.Thinking;
import io.sparkmoe.distill.http.Reply.Chance;
import io.sparkmoe.distill.http.Reply.Token;
import java.util.ArrayList;
import java.util.List;

/**
 * The chat form. Reasoning, in {@code reasoning_content} (DeepSeek, vLLM before 0.12) or {@code
 * reasoning} (OpenRouter, vLLM), is kept but never sent: DeepSeek refuses requests that hold it,
 * and other models were not trained to see that of earlier turns.
 */
final class ChatApi implements TeacherApi {

  @Override
  public void write(ObjectNode body, TeacherRequest request, int topK) {
    ArrayNode messages = body.putArray("messages");
    for (ChatMessage message : conversation(request)) {
      messages.addObject().put("role", message.role()).put("content", message.content());
    }
    if (topK > 0) {
      body.put("logprobs", true).put("top_logprobs", topK);
    }
  }

  @Override
  public List<ChatMessage> conversation(TeacherRequest request) {
    if (request.prompt().messages() == null) {
      return List.of(new ChatMessage(ChatMessage.USER, request.prompt().text()));
    }
    return request.prompt().messages().stream().map(ChatApi::withoutReasoning).toList();
  }

  private static ChatMessage withoutReasoning(ChatMessage message) {
    return message.role().equals(ChatMessage.ASSISTANT)
        ? new ChatMessage(message.role(), Thinking.split(message.content()).answer())
        : message;
  }

  @Override
  public Reply read(JsonNode reply) throws MalformedReplyException {
    JsonNode choice = ReplyJson.firstChoice(reply);
    JsonNode message = choice.path("message");
    if (!message.isObject()) {
      throw new MalformedReplyException("its choice has no message");
    }
    String content = message.path("content").asText("");
    String reasoning = ReplyJson.textOrNull(message, "reasoning_content");
    if (reasoning == null) {
      reasoning = ReplyJson.textOrNull(message, "reasoning");
    }
    if (reasoning == null && content.isEmpty()) {
      throw new MalformedReplyException("its message has no content");
    }
    return new Reply(
        content,
        reasoning,
        ReplyJson.textOrNull(choice, "finish_reason"),
        tokens(choice.path("logprobs").path("content")),
        ReplyJson.usage(reply),
        ReplyJson.textOrNull(reply, "system_fingerprint"));
  }

  private static List<Token> tokens(JsonNode content) throws MalformedReplyException {
    if (!content.isArray()) {
      return null;
    }
    List<Token> tokens = new ArrayList<>();
    for (JsonNode token : content) {
      List<Chance> alternatives = new ArrayList<>();
      for (JsonNode alternative : token.path("top_logprobs")) {
        alternatives.add(
            ReplyJson.chance(ReplyJson.bytes(alternative), alternative.path("logprob")));
      }
      tokens.add(
          new Token(
              ReplyJson.chance(ReplyJson.bytes(token), token.path("logprob")),
              ReplyJson.ranked(alternatives)));
    }
    return tokens;
  }
}
