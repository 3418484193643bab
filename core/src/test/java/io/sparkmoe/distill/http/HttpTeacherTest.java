package io.sparkmoe.distill.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.AnswerSink;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherRequest;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.distill.http.Endpoint.Api;
import io.sparkmoe.distill.http.ScriptedEndpoint.Act;
import io.sparkmoe.distill.http.ScriptedEndpoint.Script;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The client against a real HTTP server. */
@Timeout(60)
class HttpTeacherTest {

  private static final RetryPolicy QUICK =
      new RetryPolicy(4, Duration.ofMillis(5), Duration.ofMillis(20), Duration.ofSeconds(20));

  /** Everything that reached the sink. */
  private static final class Answers implements AnswerSink {
    final Map<String, DistillationRow> rows = new TreeMap<>();
    final Map<String, String> failures = new TreeMap<>();
    TokenUsage usage = TokenUsage.NONE;

    @Override
    public synchronized void answered(List<DistillationRow> answered, TokenUsage cost) {
      for (DistillationRow row : answered) {
        assertThat(rows.put(row.id(), row)).as("answered twice").isNull();
      }
      usage = usage.plus(cost);
    }

    @Override
    public synchronized void failed(TeacherRequest request, String reason) {
      assertThat(failures.put(request.id(), reason)).as("failed twice").isNull();
    }
  }

  private static HttpTeacherSettings settings(ScriptedEndpoint endpoint, Api api, int topK) {
    return settings(endpoint, api, topK, QUICK);
  }

  private static HttpTeacherSettings settings(
      ScriptedEndpoint endpoint, Api api, int topK, RetryPolicy retry) {
    return new HttpTeacherSettings(
        Endpoint.parse(endpoint.address(), api),
        "echo",
        new ApiKey("sk-secret"),
        new SamplingSettings(64, 0.5, 0.9, topK, 1),
        3,
        0,
        retry,
        BudgetLimits.NONE);
  }

  private static TeacherRequest request(String prompt) {
    return new TeacherRequest("id-" + prompt, Prompt.ofText(prompt), 7);
  }

  private static Answers ask(HttpTeacherSettings settings, Tokenizer tokenizer, String... prompts)
      throws IOException, InterruptedException {
    Answers answers = new Answers();
    try (HttpTeacher teacher = new HttpTeacher(settings, tokenizer)) {
      teacher.answer(List.of(prompts).stream().map(p -> request(p)).iterator(), answers);
    }
    return answers;
  }

  private static Answers ask(Script script, int topK, String... prompts)
      throws IOException, InterruptedException {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint(script)) {
      return ask(settings(endpoint, Api.CHAT, topK), new ByteTokenizer(), prompts);
    }
  }

  /** Fails the first try of every prompt this way, then answers. */
  private static Script onceThenAnswer(Act failure) {
    return (prompt, attempt) -> attempt == 1 ? failure : ScriptedEndpoint.answer();
  }

  @Test
  void aChatAnswerBecomesARowWithIdsAndTail() throws Exception {
    Answers answers = ask((p, a) -> ScriptedEndpoint.answer(), 2, "abc");

    DistillationRow row = answers.rows.get("id-abc");
    assertThat(row.completion()).isEqualTo("cba");
    assertThat(row.messages())
        .containsExactly(new ChatMessage("user", "abc"), new ChatMessage("assistant", "cba"));
    assertThat(row.completionIds()).containsExactly('c', 'b', 'a');
    assertThat(row.promptIds()).isNull();
    assertThat(row.tokenizerSha256()).isEqualTo(new ByteTokenizer().sha256());
    assertThat(row.sampledLogprobs()).containsExactly(-0.25f, -0.25f, -0.25f);
    assertThat(row.topkIds()[0]).containsExactly('a', 'b');
    assertThat(row.topkLogprobs()[0]).containsExactly(-1, -2);
    assertThat(row.tailLogMass()[0])
        .isCloseTo((float) Math.log(1 - Math.exp(-1) - Math.exp(-2)), within(1e-6f));
    assertThat(row.teacher()).isEqualTo("echo");
    assertThat(row.teacherRevision()).isEqualTo("fp1");
    assertThat(row.finishReason()).isEqualTo("stop");
    assertThat(answers.usage).isEqualTo(new TokenUsage(10, 3));
  }

  @Test
  void aCompletionsAnswerBecomesARowWithPromptIds() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      Answers answers = ask(settings(endpoint, Api.COMPLETIONS, 3), new ByteTokenizer(), "ab");

      DistillationRow row = answers.rows.get("id-ab");
      assertThat(row.messages()).isNull();
      assertThat(row.promptIds()).containsExactly('a', 'b');
      assertThat(row.completionIds()).containsExactly('b', 'a');
      assertThat(row.topkIds()[1])
          .as("most probable first, -9999 left out")
          .containsExactly('a', 'b');
    }
  }

  @Test
  void theRequestCarriesSettingsAndKey() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      ask(settings(endpoint, Api.CHAT, 2), null, "x");

      JsonNode body = endpoint.bodies().get(0);
      assertThat(body.path("model").asText()).isEqualTo("echo");
      assertThat(body.path("max_tokens").asInt()).isEqualTo(64);
      assertThat(body.path("temperature").asDouble()).isEqualTo(0.5);
      assertThat(body.path("top_p").asDouble()).isEqualTo(0.9);
      assertThat(body.path("seed").asLong()).isEqualTo(7);
      assertThat(body.path("top_logprobs").asInt()).isEqualTo(2);
      assertThat(endpoint.authorizations()).containsExactly("Bearer sk-secret");
    }
  }

  @Test
  void withoutATokenizerIdsStayNullAndLogprobsAreKept() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      DistillationRow row = ask(settings(endpoint, Api.CHAT, 2), null, "ab").rows.get("id-ab");

      assertThat(row.completionIds()).isNull();
      assertThat(row.topkIds()).isNull();
      assertThat(row.tokenizerSha256()).isNull();
      assertThat(row.sampledLogprobs()).hasSize(2);
      assertThat(row.tailLogMass()).hasSize(2);
    }
  }

  @Test
  void tokensOfAnotherTokenizerLeaveIdsNull() throws Exception {
    Act merged =
        ScriptedEndpoint.text(
            "{\"choices\": [{\"message\": {\"content\": \"the\"}, \"logprobs\": {\"content\":"
                + " [{\"token\": \"the\", \"logprob\": -1, \"top_logprobs\": [{\"token\": \"the\","
                + " \"logprob\": -1}]}]}}]}");

    DistillationRow row = ask((p, a) -> merged, 1, "x").rows.get("id-x");

    assertThat(row.completionIds()).isNull();
    assertThat(row.sampledLogprobs()).containsExactly(-1);
  }

  @Test
  void aLogprobOfMinus9999IsNotANumberAndNeverAlternative() throws Exception {
    DistillationRow row =
        ask((p, a) -> ScriptedEndpoint.answer(-9999.0, true), 2, "ab").rows.get("id-ab");

    assertThat(row.sampledLogprobs()).containsExactly(Float.NaN, Float.NaN);
    assertThat(row.topkLogprobs()[0]).containsExactly(-1, -2);
  }

  @Test
  void failuresThatMayPassAreTriedAgain() throws Exception {
    for (Act failure :
        List.of(
            ScriptedEndpoint.status(429, "slow down"),
            ScriptedEndpoint.status(500, "oops"),
            ScriptedEndpoint.status(503, "later"),
            ScriptedEndpoint.retryAfter(429, "0.01"),
            ScriptedEndpoint.text("{\"choices\": [{\"mess"),
            ScriptedEndpoint.text("<html>busy</html>"),
            ScriptedEndpoint.text("[]"),
            ScriptedEndpoint.text("{\"choices\": []}"),
            ScriptedEndpoint.text("{\"error\": {\"message\": \"upstream\"}}"),
            ScriptedEndpoint.cutOff(),
            ScriptedEndpoint.answer(-1, false))) {
      Answers answers = ask(onceThenAnswer(failure), 1, "abc");

      assertThat(answers.failures).isEmpty();
      assertThat(answers.rows.get("id-abc").answer()).isEqualTo("cba");
    }
  }

  @Test
  void anEndpointThatFallsSilentIsAskedAgain() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint(
            (p, a) ->
                p.equals("abc") && a == 1
                    ? ScriptedEndpoint.silence()
                    : ScriptedEndpoint.answer())) {
      ask(settings(endpoint, Api.CHAT, 0, QUICK), null, "warm-up");
      RetryPolicy hasty =
          new RetryPolicy(20, Duration.ofMillis(5), Duration.ofMillis(20), Duration.ofMillis(500));
      Answers answers = ask(settings(endpoint, Api.CHAT, 0, hasty), null, "abc");

      assertThat(answers.failures).isEmpty();
      assertThat(answers.rows.get("id-abc").answer()).isEqualTo("cba");
      assertThat(endpoint.bodies().size()).isGreaterThanOrEqualTo(3);
      // What was not heard may have been charged for: all of its 64 tokens.
      assertThat(answers.usage.total()).isGreaterThan(64);
    }
  }

  @Test
  void aRequestThatKeepsFailingIsGivenUpOnAndOthersGoOn() throws Exception {
    Answers answers =
        ask(
            (p, a) ->
                p.equals("bad") ? ScriptedEndpoint.status(500, "oops") : ScriptedEndpoint.answer(),
            0,
            "bad",
            "good");

    assertThat(answers.failures).containsEntry("id-bad", "HTTP status 500 (oops), after 4 tries");
    assertThat(answers.rows.keySet()).containsExactly("id-good");
  }

  @Test
  void aRefusedRequestIsNotRepeated() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint((p, a) -> ScriptedEndpoint.status(400, "context is sk-secret long"))) {
      Answers answers = ask(settings(endpoint, Api.CHAT, 0), null, "x");

      assertThat(answers.failures).containsEntry("id-x", "HTTP status 400 (context is *** long)");
      assertThat(endpoint.bodies()).hasSize(1);
    }
  }

  @Test
  void whatTheOtherSideSaysIsOneShortLineInsideASuccessToo() throws Exception {
    String talk = "all is lost\\nsk-secret\\n".repeat(300);
    Answers object =
        ask(
            (p, a) -> ScriptedEndpoint.text("{\"error\": {\"message\": \"" + talk + "\"}}"),
            0,
            "x");
    Answers plain = ask((p, a) -> ScriptedEndpoint.text("{\"error\": \"busy\"}"), 0, "x");

    assertThat(object.failures.get("id-x"))
        .startsWith("malformed reply: it reports all is lost *** all is lost *** all")
        .endsWith("..., after 4 tries")
        .hasSizeLessThan(250)
        .doesNotContain("\n");
    assertThat(plain.failures)
        .containsEntry("id-x", "malformed reply: it reports busy, after 4 tries");
  }

  @Test
  void aWrongKeyStopsAtOnce() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint((p, a) -> ScriptedEndpoint.status(401, "bad key sk-secret"))) {
      String[] many = IntStream.range(0, 50).mapToObj(i -> "p" + i).toArray(String[]::new);

      assertThatThrownBy(() -> ask(settings(endpoint, Api.CHAT, 0), null, many))
          .isInstanceOf(TeacherFailure.class)
          .hasMessageContaining("refuses the key: got HTTP status 401, expected 200; correct")
          .hasMessageNotContaining("sk-secret");
      assertThat(endpoint.bodies()).hasSizeLessThanOrEqualTo(6);
    }
  }

  @Test
  void anEndpointThatIsNotThereIsNamed() throws Exception {
    HttpTeacherSettings settings;
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      settings = settings(endpoint, Api.CHAT, 0);
    }

    assertThatThrownBy(() -> ask(settings, null, "x", "y"))
        .isInstanceOf(TeacherFailure.class)
        .hasMessageMatching(
            "teacher cannot be reached: 127.0.0.1:\\d+ does not answer \\(.+\\), expected an"
                + " endpoint; start it or correct --teacher");
  }

  @Test
  void aModelWithoutLogprobsIsNamedWhenTheyAreAskedFor() {
    assertThatThrownBy(() -> ask((p, a) -> ScriptedEndpoint.answer(-1, false), 5, "x"))
        .isInstanceOf(TeacherFailure.class)
        .hasMessageContaining(
            "gives no log-probabilities: model echo left them out of 3 replies, expected them for"
                + " --top-k 5; use another model or --top-k 0");
  }

  @Test
  void whatAStopHasCostReachesTheSink() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer(-1, false))) {
      Answers answers = new Answers();
      HttpTeacher teacher = new HttpTeacher(settings(endpoint, Api.CHAT, 5), null);

      assertThatThrownBy(() -> teacher.answer(List.of(request("x")).iterator(), answers))
          .isInstanceOf(TeacherFailure.class)
          .hasMessageContaining("gives no log-probabilities");
      assertThat(endpoint.bodies()).hasSize(3);
      assertThat(answers.usage.completionTokens()).as("three worst cases").isEqualTo(3 * 64);
    }
  }

  @Test
  void aRefusalOfLogprobsIsNamed() {
    assertThatThrownBy(
            () ->
                ask(
                    (p, a) -> ScriptedEndpoint.status(400, "model does not support logprobs"),
                    5,
                    "x"))
        .isInstanceOf(TeacherFailure.class)
        .hasMessageContaining("refuses log-probabilities for model echo with --top-k 5");
  }

  @Test
  void reasoningIsKeptAndNeverSentBack() throws Exception {
    Act thinks =
        ScriptedEndpoint.text(
            "{\"choices\": [{\"finish_reason\": \"stop\", \"message\": {\"content\": \"4\","
                + " \"reasoning_content\": \"2 and 2\"}}]}");
    Script strict = (p, a) -> thinks;
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint(strict)) {
      Answers answers = new Answers();
      TeacherRequest next =
          new TeacherRequest(
              "r",
              new Prompt(
                  "test",
                  null,
                  List.of(
                      new ChatMessage("user", "1 + 1"),
                      new ChatMessage("assistant", "<think>\nhm\n</think>\n\n2"),
                      new ChatMessage("user", "2 + 2")),
                  null,
                  null),
              7);
      new HttpTeacher(settings(endpoint, Api.CHAT, 0), null)
          .answer(List.of(next).iterator(), answers);

      DistillationRow row = answers.rows.get("r");
      assertThat(row.reasoning()).isEqualTo("2 and 2");
      assertThat(row.answer()).isEqualTo("4");
      assertThat(row.completion()).isEqualTo("<think>\n2 and 2\n</think>\n\n4");
      String sent = endpoint.bodies().get(0).toString();
      assertThat(sent).doesNotContain("think", "hm", "reasoning");
      assertThat(sent).contains("\"content\":\"2\"");
    }
  }

  @Test
  void noMoreRequestsAreUnderWayThanAllowed() throws Exception {
    Script slow =
        (p, a) ->
            (endpoint, exchange, body) -> {
              LockSupport.parkNanos(5_000_000);
              ScriptedEndpoint.answer().on(endpoint, exchange, body);
            };
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint(slow)) {
      String[] many = IntStream.range(0, 30).mapToObj(i -> "p" + i).toArray(String[]::new);
      Answers answers = ask(settings(endpoint, Api.CHAT, 0), null, many);

      assertThat(answers.rows).hasSize(30);
      assertThat(endpoint.mostOpen()).isBetween(2, 3);
    }
  }

  @Test
  void aBudgetEndsTheRunBeforeItIsExceeded() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      HttpTeacherSettings settings =
          settings(endpoint, Api.CHAT, 0).withLimits(1, 0, new BudgetLimits(400, 0, 0, 0));
      Answers answers = new Answers();
      List<String> prompts = new ArrayList<>();
      IntStream.range(0, 50).forEach(i -> prompts.add("p" + i));

      assertThatThrownBy(
              () ->
                  new HttpTeacher(settings, null)
                      .answer(prompts.stream().map(HttpTeacherTest::request).iterator(), answers))
          .isInstanceOfSatisfying(
              TeacherFailure.class,
              failure -> assertThat(failure.kind()).isEqualTo(TeacherFailure.Kind.BUDGET_SPENT))
          .hasMessageContaining("the budget is spent");
      assertThat(answers.rows).isNotEmpty();
      assertThat(answers.usage.total()).isLessThanOrEqualTo(400);
      assertThat(endpoint.bodies()).hasSize(answers.rows.size());
    }
  }
}
