package io.sparkmoe.spark.job;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.infer.ChatSession;
import io.sparkmoe.infer.Generation;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.spark.data.HadoopSettings;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

/**
 * {@code moe chat}: a conversation in a terminal, line by line, in this process. {@code /reset}
 * forgets it, {@code /exit} and the end of the input leave.
 */
public final class ChatJob {

  private static final String RESET = "/reset";
  private static final String EXIT = "/exit";

  /** What looks like a command, and no path or sentence. */
  private static final Pattern COMMAND = Pattern.compile("/\\w+");

  private static final String PROMPT = "> ";

  private final ChatOptions options;
  private final InputStream in;
  private final PrintStream out;
  private final PrintStream err;

  public ChatJob(ChatOptions options, InputStream in, PrintStream out, PrintStream err) {
    this.options = options;
    this.in = in;
    this.out = out;
    this.err = err;
  }

  /** Talks until the user leaves. */
  public void run() throws IOException {
    try (ModelFolder folder = ModelFolder.open(options.checkpoint(), HadoopSettings.current());
        Tokenizer tokenizer = folder.openTokenizer()) {
      folder.notes().forEach(note -> err.println("note: " + note));
      TextGenerator.requireVocabulary(folder.model(), tokenizer);
      try (LoadedModel loaded =
              LoadedModel.load(
                  folder.weights(),
                  options.weights(),
                  folder.gemmBackend(),
                  options.threads(),
                  new LoadedModel.Caches(
                      ChatSession.firstBytes(folder.model()),
                      ChatSession.mostBytes(folder.model()),
                      "start anew, or take a larger machine"));
          ChatSession session =
              new ChatSession(
                  loaded.model(),
                  tokenizer,
                  new TextGenerator(
                      loaded.model(), tokenizer, folder.endIds(tokenizer), options.speculative()),
                  options.sampling(),
                  options.maxTokens(),
                  folder.beginIds())) {
        err.println(
            "context of "
                + session.contextLength()
                + " tokens; /reset starts anew, /exit or Ctrl-D leaves");
        talk(session);
      }
    }
  }

  private void talk(ChatSession session) throws IOException {
    BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
    for (String line = ask(lines); line != null && !line.equals(EXIT); line = ask(lines)) {
      if (line.equals(RESET)) {
        session.reset();
        err.println("forgotten");
      } else if (COMMAND.matcher(line).matches()) {
        err.println(
            "unknown command "
                + line
                + ", expected "
                + RESET
                + " or "
                + EXIT
                + "; nothing was said");
      } else if (!line.isEmpty()) {
        answer(session, line);
      }
    }
    out.println();
  }

  /** The next line without blanks around it; null at the end. */
  private String ask(BufferedReader lines) throws IOException {
    out.print(PROMPT);
    out.flush();
    String line = lines.readLine();
    return line == null ? null : line.strip();
  }

  private void answer(ChatSession session, String line) {
    Generation answer;
    try {
      answer =
          session
              .say(
                  line,
                  (request, piece) -> {
                    out.print(piece);
                    out.flush();
                  })
              .texts()
              .get(0);
    } catch (ChatSession.ContextFullException e) {
      err.println(e.getMessage());
      return;
    }
    out.println();
    if (answer.promptIds().length + answer.tokenIds().length >= session.contextLength()) {
      err.println(
          "context is full: "
              + session.contextLength()
              + " tokens were said; start anew with "
              + RESET);
    }
  }
}
