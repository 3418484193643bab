package io.sparkmoe.distill.http;

/**
 * What to do about a try that brought no answer.
 *
 * @param kind what to do
 * @param reason what happened, without the key
 */
record Verdict(Kind kind, String reason) {

  enum Kind {
    /** Try again later. */
    AGAIN,
    /** This request has no answer; others may. */
    REFUSED,
    /** No request has a chance; the reason is a whole sentence. */
    HOPELESS
  }
}
