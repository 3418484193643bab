package io.sparkmoe.distill.http;

/** A reply that says success and is not what a reply must be. */
final class MalformedReplyException extends Exception {

  private static final long serialVersionUID = 1;

  MalformedReplyException(String message) {
    super(message);
  }
}
