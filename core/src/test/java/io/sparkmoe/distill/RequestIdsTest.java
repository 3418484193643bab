package io.sparkmoe.distill;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.data.ChatMessage;
import java.util.List;
import org.junit.jupiter.api.Test;

class RequestIdsTest {

  private static final TeacherIdentity PLAIN = new TeacherIdentity("t", "r", "f00d", 5);
  private static final SamplingSettings SAMPLING = new SamplingSettings(5, 1, 1, 0, 1);

  /** What was asked with another template has another answer; a text is asked without one. */
  @Test
  void theTemplateNamesRequestsOfConversationsAlone() {
    RequestIds plain = new RequestIds(PLAIN, SAMPLING);
    RequestIds one = new RequestIds(PLAIN.withTemplate("1"), SAMPLING);
    RequestIds other = new RequestIds(PLAIN.withTemplate("2"), SAMPLING);
    Prompt talk = new Prompt("", null, List.of(new ChatMessage("user", "a")), null, null);
    Prompt text = Prompt.ofText("a");

    assertThat(one.idOf(talk, 0)).isNotEqualTo(other.idOf(talk, 0));
    assertThat(one.idOf(text, 0)).isEqualTo(other.idOf(text, 0)).isEqualTo(plain.idOf(text, 0));
  }
}
