package io.sparkmoe.distill.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.distill.TokenUsage;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** When and how often requests go out, on a clock of the test's own. */
class PacingTest {

  private static final class FakeTiming implements Timing {
    private long now = 5_000;

    @Override
    public long nanoTime() {
      return now;
    }

    @Override
    public void sleep(long nanos) {
      now += nanos;
    }
  }

  @Test
  void startsAreEvenlySpaced() throws InterruptedException {
    FakeTiming timing = new FakeTiming();
    Pace pace = new Pace(4, timing);
    List<Long> starts = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      pace.await();
      starts.add((timing.now - 5_000) / 1_000_000);
    }
    assertThat(starts).containsExactly(0L, 250L, 500L, 750L);
  }

  @Test
  void aPauseHoldsEveryoneBack() throws InterruptedException {
    FakeTiming timing = new FakeTiming();
    Pace pace = new Pace(0, timing);
    pace.await();
    pace.pause(Duration.ofSeconds(3));
    pace.pause(Duration.ofSeconds(1)); // a shorter one does not end a longer one
    pace.await();
    assertThat(timing.now - 5_000).isEqualTo(3_000_000_000L);
  }

  @Test
  void retryAfterIsSecondsOrADate() {
    Clock clock = Clock.fixed(Instant.parse("2026-11-24T10:00:00Z"), ZoneOffset.UTC);
    assertThat(RetryAfter.parse("7", clock)).contains(Duration.ofSeconds(7));
    assertThat(RetryAfter.parse(" 0.5 ", clock)).contains(Duration.ofMillis(500));
    assertThat(RetryAfter.parse("Tue, 24 Nov 2026 10:00:30 GMT", clock))
        .contains(Duration.ofSeconds(30));
    assertThat(RetryAfter.parse("Tue, 24 Nov 2026 09:00:00 GMT", clock)).contains(Duration.ZERO);
    assertThat(RetryAfter.parse("9999999", clock)).contains(RetryAfter.LONGEST);
    assertThat(RetryAfter.parse("soon", clock)).isEmpty();
    assertThat(RetryAfter.parse("NaN", clock)).contains(Duration.ZERO);
  }

  @Test
  void backoffDoublesWithJitterAndIsTheSameForTheSameSeed() {
    RetryPolicy policy =
        new RetryPolicy(9, Duration.ofMillis(100), Duration.ofSeconds(2), Duration.ofSeconds(1));
    SplittableRandom random = new SplittableRandom(3);
    List<Long> waits = new ArrayList<>();
    for (int attempt = 1; attempt <= 8; attempt++) {
      long millis = policy.backoff(attempt, random).toMillis();
      long mean = Math.min(2000, 100L << (attempt - 1));
      assertThat(millis).isBetween(mean / 2, Math.min(2000, mean * 3 / 2));
      waits.add(millis);
    }
    SplittableRandom again = new SplittableRandom(3);
    for (int attempt = 1; attempt <= 8; attempt++) {
      assertThat(policy.backoff(attempt, again).toMillis()).isEqualTo(waits.get(attempt - 1));
    }
    assertThat(policy.backoff(1, new SplittableRandom(4)).toMillis()).isNotEqualTo(waits.get(0));
  }

  @Test
  void askersShareWhatIsLeftOfABudget() {
    BudgetLimits limits = new BudgetLimits(1_000, 2, 1, 3);
    BudgetLimits share = limits.share(new TokenUsage(100, 300), 3);
    assertThat(share.maxTokens()).isEqualTo(200);
    assertThat(share.maxMoney()).isLessThan(2.0 / 3);
    assertThat(BudgetLimits.NONE.share(new TokenUsage(5, 5), 2)).isEqualTo(BudgetLimits.NONE);
  }

  @Test
  void aMoneyBudgetNeedsPrices() {
    assertThatThrownBy(() -> new BudgetLimits(0, 5, 0, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("expected --price-in and --price-out per million; give them");
  }

  @Test
  void aKeyNeverShowsItself() {
    ApiKey key = new ApiKey(" sk-12345\n");
    assertThat(key.toString()).isEqualTo("***");
    assertThat(key.scrub("no sk-12345 here")).isEqualTo("no *** here");
    assertThat(key.bearer()).isEqualTo("Bearer sk-12345");
    assertThatThrownBy(() -> new ApiKey("two words"))
        .hasMessageStartingWith("the API key holds spaces");
  }

  @Test
  void addressesAreBasesOrWholePaths() {
    assertThat(Endpoint.parse("http://h:1", Endpoint.Api.CHAT).requests())
        .hasToString("http://h:1/v1/chat/completions");
    assertThat(Endpoint.parse("https://h/v1/", Endpoint.Api.COMPLETIONS).requests())
        .hasToString("https://h/v1/completions");
    assertThat(Endpoint.parse("https://h/x/chat/completions", Endpoint.Api.COMPLETIONS).requests())
        .hasToString("https://h/x/chat/completions");
    assertThat(Endpoint.parse("https://h/v1/completions", Endpoint.Api.CHAT).models())
        .hasToString("https://h/v1/models");
  }

  @Test
  void aRefusedAddressShowsNothingThatMayBeSecret() {
    Map<String, String> shown =
        Map.ofEntries(
            Map.entry("ftp://h", "ftp://h, which is not http(s)"),
            Map.entry("http://", "http://, which cannot be read"),
            Map.entry("h:80", "h:80, which is not http(s)"),
            Map.entry("http://my_host:80", "http://my_host:80, which has no valid host"),
            Map.entry("http://h/ SECRET", "http://h, which cannot be read"),
            Map.entry("http://u:SECRET@h:1/v1", "http://h:1, which has a user"),
            Map.entry("https://SECRET@[::1]:8000", "https://[::1]:8000, which has a user"),
            Map.entry("https://h?api_key=SECRET", "https://h, which has a query"),
            Map.entry("https://h:9/SECRET?x=a@b", "https://h:9, which has a query"),
            Map.entry("https://u:SEC/RET@h", "https://..., which has no valid host"),
            Map.entry("https://u:SEC RET@h:1", "https://h:1, which cannot be read"),
            Map.entry("u:SECRET@h:1", "h:1, which is not http(s)"),
            Map.entry("mailto:SECRET", "..., which is not http(s)"));
    shown.forEach(
        (address, expected) ->
            assertThatThrownBy(() -> Endpoint.parse(address, Endpoint.Api.CHAT))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(
                    "teacher address is "
                        + expected
                        + ", expected http(s)://HOST[:PORT][/PATH] without user or query; correct"
                        + " --teacher")
                .hasNoCause());
  }
}
