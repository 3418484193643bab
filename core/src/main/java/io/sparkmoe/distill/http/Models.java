package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.distill.TeacherFailure;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** The models that an endpoint lists. */
public final class Models {

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Duration TIMEOUT = Duration.ofSeconds(20);

  /** What an endpoint that lists none is asked for; those with one model do not look at it. */
  private static final String UNNAMED = "default";

  private Models() {}

  /**
   * The model of an endpoint that has one.
   *
   * @throws TeacherFailure when it cannot be reached or refuses the key
   * @throws IllegalArgumentException when it has several
   */
  public static String onlyOne(Endpoint endpoint, ApiKey key) throws InterruptedException {
    HttpResponse<byte[]> reply;
    try {
      reply = new Connection(key, TIMEOUT).get(endpoint.models());
    } catch (IOException e) {
      throw Unreachable.at(endpoint, e);
    }
    if (reply.statusCode() == 401 || reply.statusCode() == 403) {
      throw new TeacherFailure(
          TeacherFailure.Kind.WRONG_INPUT,
          "teacher "
              + endpoint.host()
              + " refuses the key: got HTTP status "
              + reply.statusCode()
              + ", expected 200; correct the key in MOE_TEACHER_API_KEY or --api-key-file");
    }
    List<String> names = reply.statusCode() == 200 ? names(reply.body()) : List.of();
    if (names.size() > 1) {
      throw new IllegalArgumentException(
          "teacher "
              + endpoint.host()
              + " has "
              + names.size()
              + " models ("
              + String.join(", ", names.subList(0, Math.min(5, names.size())))
              + (names.size() > 5 ? ", ..." : "")
              + "), expected to know which one; name it with --model");
    }
    return names.isEmpty() ? UNNAMED : names.get(0);
  }

  private static List<String> names(byte[] body) {
    List<String> names = new ArrayList<>();
    try {
      for (JsonNode model : JSON.readTree(body).path("data")) {
        if (model.path("id").isTextual()) {
          names.add(model.path("id").asText());
        }
      }
    } catch (IOException e) {
      return List.of(); // not every endpoint has a list
    }
    return names;
  }
}
