package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;

class ChatTemplateTest {

  @Test
  void aConversationIsTheTextThatAChatBuildsTurnByTurn() {
    ChatMessage first = new ChatMessage(ChatMessage.USER, " a\n");
    ChatMessage answer = new ChatMessage(ChatMessage.ASSISTANT, "b c ");
    ChatMessage second = new ChatMessage(ChatMessage.USER, "d");
    assertThat(ChatTemplate.text(List.of(first))).isEqualTo(ChatTemplate.userTurn("a", true));
    assertThat(ChatTemplate.text(List.of(first, answer, second)))
        .isEqualTo(
            ChatTemplate.userTurn("a", true)
                + ChatTemplate.answer("b c")
                + ChatTemplate.userTurn("d", false))
        .isEqualTo("User: a\n\nAssistant: b c\n\nUser: d\n\nAssistant:");
  }

  @Test
  void instructionsStandBeforeTheConversation() {
    List<ChatMessage> conversation =
        List.of(new ChatMessage("system", "be kind"), new ChatMessage("user", "hi"));
    assertThat(ChatTemplate.text(conversation))
        .isEqualTo("System: be kind\n\nUser: hi\n\nAssistant:");
  }

  @Test
  void aRoleWithoutATurnIsNamed() {
    List<ChatMessage> conversation = List.of(new ChatMessage("tool", "42"));
    String sentence =
        "the chat template has no turn for a role: got tool, expected system, user or assistant;"
            + " leave out the conversation or name the role as one of them";
    assertThatThrownBy(() -> ChatTemplate.text(conversation))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(sentence);
    assertThatThrownBy(() -> ChatTemplate.requireRoles(conversation))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(sentence);
  }

  /** Datasets hold this name: it may change with what the template writes, and only then. */
  @Test
  void theTemplateIsNamedByWhatItWrites() {
    assertThat(ChatTemplate.sha256())
        .isEqualTo("eeca9fa1ee616b42ada97b83dfe75d3bcf3c2ef83f2928ccf7d8af432aa84ea2");
  }
}
