package io.sparkmoe.distill.http;

import java.time.Clock;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Optional;

/** The Retry-After header: seconds or an HTTP date (RFC 9110, section 10.2.3). */
final class RetryAfter {

  /** Longer waits are cut: the header may be wrong, and a request more does no harm. */
  static final Duration LONGEST = Duration.ofMinutes(10);

  private RetryAfter() {}

  /** How long to wait; empty when the value says nothing that can be understood. */
  static Optional<Duration> parse(String value, Clock clock) {
    Duration wait;
    try {
      wait = Duration.ofMillis((long) Math.ceil(1000 * Double.parseDouble(value.strip())));
    } catch (NumberFormatException e) {
      try {
        ZonedDateTime date =
            ZonedDateTime.parse(value.strip(), DateTimeFormatter.RFC_1123_DATE_TIME);
        wait = Duration.between(clock.instant(), date.toInstant());
      } catch (DateTimeException notADate) {
        return Optional.empty();
      }
    }
    if (wait.isNegative()) {
      wait = Duration.ZERO;
    }
    return Optional.of(wait.compareTo(LONGEST) > 0 ? LONGEST : wait);
  }
}
