package io.sparkmoe.infer;

import java.util.Locale;

/** Why a text ended. */
public enum FinishReason {
  /** The model ended it, or a stop string was met. */
  STOP,
  /** It reached its largest number of tokens. */
  LENGTH;

  /** As OpenAI-compatible interfaces write it. */
  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
