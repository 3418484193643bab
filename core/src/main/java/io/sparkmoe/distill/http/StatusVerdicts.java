package io.sparkmoe.distill.http;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.Locale;
import java.util.Set;

/** Judges replies that are not a success. */
final class StatusVerdicts {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Too early, too many, and failures of the other side; 529 is what some say when overloaded. */
  private static final Set<Integer> TRANSIENT = Set.of(408, 409, 425, 429, 500, 502, 503, 504, 529);

  private static final int MAX_QUOTE = 200;

  private final HttpTeacherSettings settings;

  StatusVerdicts(HttpTeacherSettings settings) {
    this.settings = settings;
  }

  Verdict of(int status, byte[] body) {
    String host = settings.endpoint().host();
    if (TRANSIENT.contains(status)) {
      return new Verdict(Verdict.Kind.AGAIN, "HTTP status " + status + said(body));
    }
    if (status == 401 || status == 403) {
      return hopeless(
          "teacher %s refuses the key: got HTTP status %d, expected 200; correct the key in"
              + " MOE_TEACHER_API_KEY or --api-key-file",
          host, status);
    }
    if (status == 402) {
      return hopeless(
          "teacher %s wants money: got HTTP status 402%s, expected 200; fill up the account",
          host, said(body));
    }
    if (status == 404 || status == 405) {
      return hopeless(
          "teacher %s has no model %s at %s: got HTTP status %d%s, expected 200; correct --teacher or"
              + " --model",
          host, settings.model(), settings.endpoint().requests().getPath(), status, said(body));
    }
    if (status < 400) {
      return hopeless(
          "teacher %s sends elsewhere: got HTTP status %d, expected 200; correct --teacher",
          host, status);
    }
    String said = said(body);
    if (settings.sampling().topK() > 0 && said.toLowerCase(Locale.ROOT).contains("logprobs")) {
      return hopeless(
          "teacher %s refuses log-probabilities for model %s with --top-k %d: got HTTP status %d%s,"
              + " expected 200; use a smaller --top-k, 0 for none",
          host, settings.model(), settings.sampling().topK(), status, said);
    }
    return new Verdict(Verdict.Kind.REFUSED, "HTTP status " + status + said);
  }

  private static Verdict hopeless(String format, Object... values) {
    return new Verdict(Verdict.Kind.HOPELESS, String.format(Locale.ROOT, format, values));
  }

  /** What the other side says about it, in brackets, or nothing. */
  private String said(byte[] body) {
    String text;
    try {
      text = ReplyJson.errorText(JSON.readTree(body).path("error"));
    } catch (IOException e) {
      return "";
    }
    text = quotable(text);
    return text.isEmpty() ? "" : " (" + text + ")";
  }

  /** A text of the other side as part of a sentence: one line, not long, without the key. */
  String quotable(String text) {
    String line = settings.key().scrub(text).replaceAll("\\s+", " ").strip();
    return line.length() > MAX_QUOTE ? line.substring(0, MAX_QUOTE) + "..." : line;
  }
}
