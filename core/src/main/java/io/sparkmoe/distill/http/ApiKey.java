package io.sparkmoe.distill.http;

import java.io.Serializable;

/** A secret; printing it by accident prints stars. */
public final class ApiKey implements Serializable {

  private static final long serialVersionUID = 1;

  private static final String STARS = "***";

  /** For endpoints that ask for no key. */
  public static final ApiKey NONE = new ApiKey("");

  private final String value;

  /**
   * @param value the key; surrounding space is not part of it; empty = none
   * @throws IllegalArgumentException when it holds characters that no header can carry
   */
  public ApiKey(String value) {
    this.value = value.strip();
    if (!this.value.chars().allMatch(c -> c > ' ' && c < 0x7F)) {
      throw new IllegalArgumentException(
          "the API key holds spaces or characters beyond ASCII, expected one plain word; check its"
              + " file or variable");
    }
  }

  boolean isPresent() {
    return !value.isEmpty();
  }

  /** Value of the Authorization header. */
  String bearer() {
    return "Bearer " + value;
  }

  /** A text of the other side without the key, should it quote it. */
  String scrub(String text) {
    return isPresent() ? text.replace(value, STARS) : text;
  }

  @Override
  public String toString() {
    return STARS;
  }
}
