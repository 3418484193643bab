package io.sparkmoe.distill.http;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Sends requests with the key; a timeout covers everything up to the last byte of the reply. */
final class Connection {

  private static final Duration CONNECT = Duration.ofSeconds(10);

  /** Far above any answer with log-probabilities. */
  private static final int MAX_REPLY_BYTES = 64 << 20;

  private final HttpClient client =
      HttpClient.newBuilder()
          .version(HttpClient.Version.HTTP_1_1)
          .connectTimeout(CONNECT)
          .followRedirects(HttpClient.Redirect.NEVER)
          .build();
  private final ApiKey key;
  private final Duration timeout;

  Connection(ApiKey key, Duration timeout) {
    this.key = key;
    this.timeout = timeout;
  }

  HttpResponse<byte[]> post(URI address, byte[] json) throws IOException, InterruptedException {
    return send(
        request(address)
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofByteArray(json))
            .build());
  }

  HttpResponse<byte[]> get(URI address) throws IOException, InterruptedException {
    return send(request(address).GET().build());
  }

  private HttpRequest.Builder request(URI address) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(address).timeout(timeout).header("Accept", "application/json");
    if (key.isPresent()) {
      request.header("Authorization", key.bearer());
    }
    return request;
  }

  private HttpResponse<byte[]> send(HttpRequest request) throws IOException, InterruptedException {
    CompletableFuture<HttpResponse<byte[]>> reply =
        client.sendAsync(request, head -> new LimitedBody(MAX_REPLY_BYTES));
    try {
      // The request's own timeout ends when the head of the reply is there.
      return reply.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      reply.cancel(true);
      throw new HttpTimeoutException("no whole reply within " + timeout.toMillis() + " ms");
    } catch (InterruptedException e) {
      reply.cancel(true);
      throw e;
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException failure) {
        throw failure;
      }
      throw new IOException(e.getCause());
    }
  }
}
