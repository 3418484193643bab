package io.sparkmoe.distill.http;

import java.io.Serializable;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.Locale;

/**
 * Where a teacher listens.
 *
 * @param base address that paths are put behind, without a slash at its end
 * @param api which of the two forms of request it takes
 */
public record Endpoint(URI base, Api api) implements Serializable {

  /** Forms of request, by the paths they go to. */
  public enum Api {
    /** Conversations. */
    CHAT("/chat/completions"),
    /** Text that is gone on from. */
    COMPLETIONS("/completions");

    private final String path;

    Api(String path) {
      this.path = path;
    }
  }

  private static final String DEFAULT_PATH = "/v1";

  /**
   * Reads an address: a base such as {@code https://api.deepseek.com/v1} (the /v1 may be left out
   * when there is no other path), or the full address of either form.
   *
   * @param api form to use when the address does not say
   */
  public static Endpoint parse(String address, Api api) {
    URI uri;
    try {
      uri = new URI(address);
    } catch (URISyntaxException e) {
      throw malformed(address, e);
    }
    String scheme = uri.getScheme() == null ? "" : uri.getScheme().toLowerCase(Locale.ROOT);
    if (!scheme.equals("http") && !scheme.equals("https")
        || uri.getHost() == null
        || uri.getUserInfo() != null
        || uri.getRawQuery() != null) {
      throw malformed(address, null);
    }
    String path = uri.getRawPath() == null ? "" : uri.getRawPath().replaceFirst("/+$", "");
    for (Api form : Api.values()) {
      if (path.endsWith(form.path)) {
        return at(uri, path.substring(0, path.length() - form.path.length()), form);
      }
    }
    return at(uri, path.isEmpty() ? DEFAULT_PATH : path, api);
  }

  private static Endpoint at(URI uri, String path, Api api) {
    return new Endpoint(URI.create(uri.getScheme() + "://" + uri.getRawAuthority() + path), api);
  }

  private static IllegalArgumentException malformed(String address, Exception cause) {
    return new IllegalArgumentException(
        "teacher address is "
            + address
            + ", expected http(s)://HOST[:PORT][/PATH] without user or query; correct --teacher",
        cause);
  }

  /** Where requests go to. */
  URI requests() {
    return URI.create(base + api.path);
  }

  /** Where the list of models is. */
  URI models() {
    return URI.create(base + "/models");
  }

  /** Host and port, for messages. */
  public String host() {
    return base.getRawAuthority();
  }
}
