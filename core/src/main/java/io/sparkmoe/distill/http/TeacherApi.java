package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.TeacherRequest;
import java.util.List;

/** One of the two forms of request. */
interface TeacherApi {

  /** Adds what a request says to the settings that all share. */
  void write(ObjectNode body, TeacherRequest request, int topK);

  /**
   * Reads the first choice of a reply.
   *
   * @throws MalformedReplyException when it is not of this form
   */
  Reply read(JsonNode reply) throws MalformedReplyException;

  /** The conversation up to the answer; null when this form has none. */
  List<ChatMessage> conversation(TeacherRequest request);

  /** The form of an endpoint. */
  static TeacherApi of(Endpoint.Api api) {
    return api == Endpoint.Api.CHAT ? new ChatApi() : new CompletionsApi();
  }
}
