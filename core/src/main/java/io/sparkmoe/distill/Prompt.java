package io.sparkmoe.distill;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.JsonLine;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * What a teacher is to be asked, before it is known which teacher: a text to go on from, a
 * conversation to answer, or a window of tokens to judge; one of the three.
 *
 * @param source where it comes from; never null
 * @param text text to go on from, or null
 * @param messages conversation to answer, or null
 * @param completion given text to judge after the prompt instead of answering, or null
 * @param window token ids to judge, each given all before it, so that the first is context only; or
 *     null
 */
public record Prompt(
    String source, String text, List<ChatMessage> messages, String completion, int[] window) {

  private static final ObjectMapper JSON = new ObjectMapper();

  public Prompt {
    Objects.requireNonNull(source);
    messages = messages == null ? null : List.copyOf(messages);
    int given = (text == null ? 0 : 1) + (messages == null ? 0 : 1) + (window == null ? 0 : 1);
    if (given != 1) {
      throw new IllegalArgumentException(
          "a prompt is a text, messages or a window, got " + given + " of them");
    }
  }

  /** A text to go on from. */
  public static Prompt ofText(String text) {
    return new Prompt("", text, null, null, null);
  }

  /** Whether a conversation is to be answered. */
  public boolean isConversation() {
    return messages != null;
  }

  /** One line of JSON, that {@link #fromJson} reads. */
  public String toJson() {
    ObjectNode object = JSON.createObjectNode();
    object.put("source", source);
    if (text != null) {
      object.put("prompt", text);
    }
    if (messages != null) {
      ArrayNode turns = object.putArray("messages");
      for (ChatMessage message : messages) {
        turns.addObject().put("role", message.role()).put("content", message.content());
      }
    }
    if (completion != null) {
      object.put("completion", completion);
    }
    if (window != null) {
      ArrayNode ids = object.putArray("window");
      for (int id : window) {
        ids.add(id);
      }
    }
    return object.toString();
  }

  /**
   * Reads a JSON object with {@code prompt} (text, or messages as some data sets have it) or {@code
   * messages}, and perhaps {@code completion} and {@code source}; other fields are left out.
   *
   * @param place named in errors
   * @return null when the prompt is blank
   */
  public static Prompt fromJson(String line, String place) {
    JsonNode object = JsonLine.parseObject(line, place);
    String source = object.path("source").asText("");
    String completion = object.hasNonNull("completion") ? object.get("completion").asText() : null;
    JsonNode prompt = object.hasNonNull("prompt") ? object.get("prompt") : object.get("messages");
    if (object.hasNonNull("window")) {
      return new Prompt(source, null, null, null, ids(object.get("window")));
    }
    if (prompt == null || prompt.isNull()) {
      List<String> names = new ArrayList<>();
      object.fieldNames().forEachRemaining(names::add);
      throw new IllegalArgumentException(
          place
              + " has no prompt: it has "
              + names
              + ", expected a column prompt or messages; rename one");
    }
    if (prompt.isTextual()) {
      return prompt.asText().isBlank()
          ? null
          : new Prompt(source, prompt.asText(), null, completion, null);
    }
    return conversation(source, prompt, completion, place);
  }

  /** An answer at the conversation's end is what the teacher is asked for, not what it is told. */
  private static Prompt conversation(
      String source, JsonNode prompt, String completion, String place) {
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode turn : prompt) {
      if (!turn.path("role").isTextual() || !turn.path("content").isTextual()) {
        throw new IllegalArgumentException(
            place + " has a message without role or content, expected texts for both; correct it");
      }
      messages.add(new ChatMessage(turn.get("role").asText(), turn.get("content").asText()));
    }
    if (!prompt.isArray()) {
      throw new IllegalArgumentException(
          place
              + " has a prompt that is a JSON "
              + JsonLine.kind(prompt)
              + ", expected text or messages");
    }
    while (!messages.isEmpty()
        && messages.get(messages.size() - 1).role().equals(ChatMessage.ASSISTANT)) {
      messages.remove(messages.size() - 1);
    }
    return messages.isEmpty() ? null : new Prompt(source, null, messages, completion, null);
  }

  private static int[] ids(JsonNode array) {
    int[] ids = new int[array.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = array.path(i).asInt();
    }
    return ids;
  }
}
