package io.sparkmoe.distill.http;

import java.io.Serializable;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.Locale;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

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

  /** Of any text; a host counts only where it ends as the host of an address does. */
  private static final Pattern PARTS =
      Pattern.compile(
          "(?<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?"
              + "(?:(?:[^/?#]*@)?"
              + "(?<host>(?:[A-Za-z0-9._-]*|\\[[0-9A-Fa-f:.]+])(?::[0-9]+)?)(?=[/?#]|$))?");

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
    } catch (URISyntaxException e) { // its message repeats the address
      throw malformed(address, "cannot be read");
    }
    String scheme = uri.getScheme() == null ? "" : uri.getScheme().toLowerCase(Locale.ROOT);
    if (!scheme.equals("http") && !scheme.equals("https")) {
      throw malformed(address, "is not http(s)");
    }
    if (uri.getHost() == null) {
      throw malformed(address, "has no valid host");
    }
    if (uri.getUserInfo() != null) {
      throw malformed(address, "has a user");
    }
    if (uri.getRawQuery() != null) {
      throw malformed(address, "has a query");
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

  private static IllegalArgumentException malformed(String address, String problem) {
    return new IllegalArgumentException(
        "teacher address is "
            + withoutSecrets(address)
            + ", which "
            + problem
            + ", expected http(s)://HOST[:PORT][/PATH] without user or query; correct --teacher");
  }

  /** Scheme, host and port as far as they can be told; all else may hold a key. */
  private static String withoutSecrets(String address) {
    Matcher parts = PARTS.matcher(address);
    parts.lookingAt();
    String scheme = Objects.requireNonNullElse(parts.group("scheme"), "");
    return scheme + Objects.requireNonNullElse(parts.group("host"), "...");
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
