package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A real HTTP endpoint that answers every prompt with its text reversed, after the failures that a
 * test scripts for it.
 */
public final class ScriptedEndpoint implements AutoCloseable {

  public static final ObjectMapper JSON = new ObjectMapper();

  private final HttpServer server;
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final CountDownLatch closing = new CountDownLatch(1);
  private final List<JsonNode> bodies = Collections.synchronizedList(new ArrayList<>());
  private final List<String> authorizations = Collections.synchronizedList(new ArrayList<>());
  private final Map<String, AtomicInteger> tries = new ConcurrentHashMap<>();
  private final AtomicInteger open = new AtomicInteger();
  private final AtomicInteger mostOpen = new AtomicInteger();
  private final Script script;

  /** What the endpoint does with a request. */
  @FunctionalInterface
  public interface Script {
    /**
     * @param prompt its text
     * @param attempt how often this prompt has come, from 1
     */
    Act act(String prompt, int attempt);
  }

  /** Something that an endpoint does. */
  @FunctionalInterface
  public interface Act {
    void on(ScriptedEndpoint endpoint, HttpExchange exchange, JsonNode body) throws IOException;
  }

  public ScriptedEndpoint(Script script) throws IOException {
    this.script = script;
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", this::handle);
    server.setExecutor(threads);
    server.start();
  }

  /** Base address, without /v1. */
  public String address() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  /** Bodies of all requests so far. */
  public List<JsonNode> bodies() {
    return List.copyOf(bodies);
  }

  /** Authorization headers of all requests so far. */
  public List<String> authorizations() {
    return List.copyOf(authorizations);
  }

  /** Most requests that were under way at a time. */
  public int mostOpen() {
    return mostOpen.get();
  }

  private void handle(HttpExchange exchange) throws IOException {
    mostOpen.accumulateAndGet(open.incrementAndGet(), Math::max);
    try (exchange) {
      if (!exchange.getRequestMethod().equals("POST")) {
        send(exchange, 404, "{}");
        return;
      }
      JsonNode body = JSON.readTree(exchange.getRequestBody());
      bodies.add(body);
      authorizations.add(String.valueOf(exchange.getRequestHeaders().getFirst("Authorization")));
      String prompt = prompt(body);
      int attempt = tries.computeIfAbsent(prompt, p -> new AtomicInteger()).incrementAndGet();
      script.act(prompt, attempt).on(this, exchange, body);
    } finally {
      open.decrementAndGet();
    }
  }

  private static String prompt(JsonNode body) {
    JsonNode messages = body.path("messages");
    return messages.isArray()
        ? messages.path(messages.size() - 1).path("content").asText()
        : body.path("prompt").asText();
  }

  private static void send(HttpExchange exchange, int status, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(status, bytes.length);
    exchange.getResponseBody().write(bytes);
  }

  /** An error with a message. */
  public static Act status(int status, String message) {
    return (endpoint, exchange, body) -> {
      ObjectNode error = JSON.createObjectNode();
      error.putObject("error").put("message", message);
      send(exchange, status, error.toString());
    };
  }

  /** An error that says when to come back. */
  public static Act retryAfter(int status, String when) {
    return (endpoint, exchange, body) -> {
      exchange.getResponseHeaders().set("Retry-After", when);
      send(exchange, status, "busy");
    };
  }

  /** Success with this body. */
  public static Act text(String reply) {
    return (endpoint, exchange, body) -> send(exchange, 200, reply);
  }

  /** Success that promises more bytes than it sends. */
  public static Act cutOff() {
    return (endpoint, exchange, body) -> {
      exchange.sendResponseHeaders(200, 1000);
      OutputStream out = exchange.getResponseBody();
      out.write("{\"choices\": [".getBytes(StandardCharsets.UTF_8));
      out.flush(); // the caller closes it with bytes missing
    };
  }

  /** No reply until the endpoint closes. */
  public static Act silence() {
    return (endpoint, exchange, body) -> {
      try {
        endpoint.closing.await();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    };
  }

  /** The answer, with log-probabilities of its characters when they are asked for. */
  public static Act answer() {
    return answer(-0.25, true);
  }

  /**
   * @param logprob of every token of the answer
   * @param withLogprobs whether they are given when they are asked for
   */
  public static Act answer(double logprob, boolean withLogprobs) {
    return (endpoint, exchange, body) -> {
      String answer = new StringBuilder(prompt(body)).reverse().toString();
      ObjectNode reply = JSON.createObjectNode();
      reply.put("system_fingerprint", "fp1");
      ObjectNode choice = reply.putArray("choices").addObject();
      choice.put("finish_reason", "stop");
      boolean asked = withLogprobs && body.has("logprobs");
      if (body.has("messages")) {
        choice.putObject("message").put("role", "assistant").put("content", answer);
        if (asked) {
          chatLogprobs(choice, answer, logprob, body.path("top_logprobs").asInt());
        }
      } else {
        choice.put("text", answer);
        if (asked) {
          completionLogprobs(choice, answer, logprob);
        }
      }
      reply.putObject("usage").put("prompt_tokens", 10).put("completion_tokens", answer.length());
      send(exchange, 200, reply.toString());
    };
  }

  private static void chatLogprobs(ObjectNode choice, String answer, double logprob, int topK) {
    ArrayNode tokens = choice.putObject("logprobs").putArray("content");
    for (char c : answer.toCharArray()) {
      ObjectNode token = tokens.addObject().put("token", "" + c).put("logprob", logprob);
      ArrayNode alternatives = token.putArray("top_logprobs");
      for (int k = 0; k < topK; k++) {
        alternatives.addObject().put("token", "" + (char) ('a' + k)).put("logprob", -1.0 - k);
      }
    }
  }

  private static void completionLogprobs(ObjectNode choice, String answer, double logprob) {
    ObjectNode logprobs = choice.putObject("logprobs");
    ArrayNode tokens = logprobs.putArray("tokens");
    ArrayNode chances = logprobs.putArray("token_logprobs");
    ArrayNode alternatives = logprobs.putArray("top_logprobs");
    for (char c : answer.toCharArray()) {
      tokens.add("" + c);
      chances.add(logprob);
      alternatives.addObject().put("b", -3.0).put("a", -1.0).put("c", -9999.0);
    }
  }

  @Override
  public void close() {
    closing.countDown();
    server.stop(0);
    threads.shutdownNow();
  }
}
