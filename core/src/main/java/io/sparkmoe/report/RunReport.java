package io.sparkmoe.report;

import io.sparkmoe.train.RunSummary;
import io.sparkmoe.train.StepMetrics;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The closing report of a run, as plain text for a terminal of 80 columns or more: how well the
 * model predicts held-out text, what its experts specialise in, where the time went, where
 * everything is and what to type next. A section without data is left out.
 *
 * @param title first line
 * @param metrics of all steps
 * @param summary of the run
 * @param baselines of the validation text, null = none
 * @param experts use of every MoE layer on the validation rows, may be empty
 * @param places what the run left behind
 * @param next commands worth typing now
 */
public record RunReport(
    String title,
    RunMetrics metrics,
    RunSummary summary,
    TextBaselines baselines,
    List<ExpertUse> experts,
    List<Line> places,
    List<Line> next) {

  private static final int RULE_WIDTH = 78;
  private static final int BAR_WIDTH = 30;

  /** Experts shown for a source. */
  private static final int TOP_EXPERTS = 4;

  /** Phases below this share of the time are added up in one line. */
  private static final double SMALL_SHARE = 0.01;

  /** A word or two, and the path or command that they are about. */
  public record Line(String what, String text) {}

  /** Without the sections that need more than the run's own files. */
  public static RunReport of(String title, RunMetrics metrics, RunSummary summary) {
    return new RunReport(title, metrics, summary, null, List.of(), List.of(), List.of());
  }

  /** The same beside baselines of the validation text. */
  public RunReport withBaselines(TextBaselines text) {
    return new RunReport(title, metrics, summary, text, experts, places, next);
  }

  /** The same with the use of the experts. */
  public RunReport withExperts(List<ExpertUse> use) {
    return new RunReport(title, metrics, summary, baselines, use, places, next);
  }

  /** The same with what the run left behind. */
  public RunReport withPlaces(List<Line> whereThingsAre) {
    return new RunReport(title, metrics, summary, baselines, experts, whereThingsAre, next);
  }

  /** The same with commands worth typing now. */
  public RunReport withNext(List<Line> commands) {
    return new RunReport(title, metrics, summary, baselines, experts, places, commands);
  }

  /** The report, lines ended by "\n". */
  public String render() {
    List<String> lines = new ArrayList<>();
    lines.add("");
    lines.add(title);
    lines.add("─".repeat(RULE_WIDTH));
    lines.addAll(run());
    section(lines, "Prediction of held-out text, bits per byte (less is better)", prediction());
    section(lines, "Experts", balance());
    section(
        lines, "How much an expert tells about its token's source (mutual information)", layers());
    section(lines, sourcesTitle(), sources());
    section(lines, "Time in steps, mean over ranks", time());
    section(lines, "Where everything is", pairs(places));
    section(lines, "What to type next", pairs(next));
    lines.add("");
    return String.join("\n", lines) + "\n";
  }

  private static void section(List<String> lines, String title, List<String> body) {
    if (!body.isEmpty()) {
      lines.add("");
      lines.add(title);
      lines.addAll(body);
    }
  }

  private List<String> run() {
    List<String> lines = new ArrayList<>();
    String where =
        switch (summary.executors()) {
          case 0 -> "in one process";
          case 1 -> "on 1 executor";
          default -> "on " + summary.executors() + " executors";
        };
    lines.add(
        "  "
            + Quantity.count(summary.steps())
            + " steps, "
            + Quantity.count(summary.tokens())
            + " tokens "
            + where
            + " in "
            + Quantity.duration(summary.wallSeconds())
            + ": "
            + Quantity.count(Math.round(summary.tokensPerSecond()))
            + " tokens/s while training");
    lines.add(
        "  arithmetic "
            + summary.precision()
            + "; on the wire gradients "
            + summary.gradientWire()
            + ", tokens "
            + summary.dispatchWire()
            + "; gate on the "
            + summary.gatePlacement());
    if (summary.resumedFromStep() > 0) {
      lines.add("  resumed from step " + Quantity.count(summary.resumedFromStep()));
    }
    if (summary.stageAttempts() > 1) {
      lines.add(
          "  Spark started the training stage " + summary.stageAttempts() + " times; see the log");
    }
    return lines;
  }

  private List<String> prediction() {
    Double model = summary.validationBitsPerByte();
    if (model == null) {
      return List.of();
    }
    TextTable table = new TextTable("lrl");
    double longest =
        baselines == null
            ? model
            : Math.max(
                model, Math.max(baselines.unigramBitsPerByte(), baselines.gzipBitsPerByte()));
    bits(table, "this model", model, longest);
    if (baselines == null) {
      return table.lines();
    }
    bits(table, "gzip -9", baselines.gzipBitsPerByte(), longest);
    bits(table, "byte unigram", baselines.unigramBitsPerByte(), longest);
    List<String> lines = new ArrayList<>(table.lines());
    double ratio = model / baselines.gzipBitsPerByte();
    lines.add(
        "  "
            + Quantity.percent(Math.abs(1 - ratio))
            + (ratio <= 1 ? " fewer" : " more")
            + " bits than gzip -9 on "
            + Quantity.bytes(baselines.bytes())
            + " of text");
    return lines;
  }

  private static void bits(TextTable table, String name, double bitsPerByte, double longest) {
    table.row(
        name,
        Quantity.decimal(bitsPerByte, 3),
        Quantity.bar(longest == 0 ? 0 : bitsPerByte / longest, BAR_WIDTH));
  }

  private List<String> balance() {
    StepMetrics last = metrics.last();
    return List.of(
        "  load in the last step: busiest expert of a layer "
            + Quantity.decimal(last.expertLoadMaxOverMean(), 2)
            + " times the mean, "
            + (last.deadExperts() == 0
                ? "no expert idle"
                : Quantity.count(last.deadExperts()) + " idle"),
        "  tokens dropped in the whole run: " + Quantity.count(metrics.droppedTokens()));
  }

  /** Layers whose tokens come from more than one source. */
  private List<ExpertUse> comparable() {
    return experts.stream().filter(use -> use.sources().size() > 1).toList();
  }

  private List<String> layers() {
    if (comparable().isEmpty()) {
      return List.of();
    }
    TextTable table =
        new TextTable("lrrrrrl")
            .row("layer", "bits", "by chance", "of source", "max/mean", "idle", "");
    for (ExpertUse use : comparable()) {
      table.row(
          use.layer(),
          Quantity.decimal(use.mutualInformationBits(), 3),
          Quantity.decimal(use.chanceBits(), 3),
          Quantity.percent(use.specialisation()),
          Quantity.decimal(use.loadMaxOverMean(), 1),
          Quantity.count(use.deadExperts()),
          Quantity.bar(use.specialisation(), BAR_WIDTH / 2));
    }
    List<String> lines = new ArrayList<>(table.lines());
    lines.add(
        "  100 % of "
            + Quantity.decimal(comparable().get(0).sourceEntropyBits(), 2)
            + " bits: no two sources share an expert; 0 %: all use them alike");
    return lines;
  }

  private ExpertUse mostSpecialised() {
    return comparable().stream()
        .max(Comparator.comparingDouble(ExpertUse::mutualInformationBits))
        .orElse(null);
  }

  private String sourcesTitle() {
    ExpertUse use = mostSpecialised();
    return use == null
        ? ""
        : "Experts that each source leans on, "
            + use.layer()
            + " (#id, share of its tokens, times the mean share)";
  }

  private List<String> sources() {
    ExpertUse use = mostSpecialised();
    if (use == null) {
      return List.of();
    }
    TextTable table = new TextTable("lr" + "r".repeat(TOP_EXPERTS));
    for (int s = 0; s < use.sources().size(); s++) {
      String[] cells = new String[2 + TOP_EXPERTS];
      cells[0] = use.sources().get(s);
      cells[1] = Quantity.percent(use.sourceShare(s));
      List<Integer> top = use.leaningExperts(s, TOP_EXPERTS);
      for (int i = 0; i < TOP_EXPERTS; i++) {
        cells[2 + i] = i < top.size() ? lean(use, s, top.get(i)) : "";
      }
      table.row(cells);
    }
    return table.lines();
  }

  private static String lean(ExpertUse use, int source, int expert) {
    return "#"
        + expert
        + " "
        + Quantity.percent(use.share(source, expert))
        + " "
        + Quantity.decimal(use.lift(source, expert), 1)
        + "x";
  }

  private List<String> time() {
    Map<String, Double> phases = metrics.secondsByPhase();
    double all = phases.values().stream().mapToDouble(Double::doubleValue).sum();
    if (all <= 0) {
      return List.of();
    }
    TextTable table = new TextTable("lrrl");
    double small = 0;
    List<Map.Entry<String, Double>> sorted =
        phases.entrySet().stream()
            .sorted(Map.Entry.<String, Double>comparingByValue().reversed())
            .toList();
    for (Map.Entry<String, Double> phase : sorted) {
      if (phase.getValue() / all < SMALL_SHARE) {
        small += phase.getValue();
      } else {
        phase(table, phase.getKey(), phase.getValue(), all);
      }
    }
    if (small > 0) {
      phase(table, "the rest", small, all);
    }
    List<String> lines = new ArrayList<>(table.lines());
    int steps = metrics.steps().size();
    String sent =
        metrics.bytesByKind().entrySet().stream()
            .filter(kind -> kind.getValue() > 0)
            .map(kind -> kind.getKey() + " " + Quantity.bytes((double) kind.getValue() / steps))
            .collect(Collectors.joining(", "));
    if (!sent.isEmpty()) {
      lines.addAll(wrapped("sent per step: " + sent));
    }
    return lines;
  }

  private static void phase(TextTable table, String name, double seconds, double all) {
    table.row(
        name,
        Quantity.duration(seconds),
        Quantity.percent(seconds / all),
        Quantity.bar(seconds / all, BAR_WIDTH));
  }

  /** Breaks a list at its commas. */
  private static List<String> wrapped(String text) {
    List<String> lines = new ArrayList<>();
    StringBuilder line = new StringBuilder("  ");
    for (String part : text.split("(?<=, )")) {
      if (line.length() + part.stripTrailing().length() > RULE_WIDTH) {
        lines.add(line.toString().stripTrailing());
        line = new StringBuilder("    ");
      }
      line.append(part);
    }
    lines.add(line.toString());
    return lines;
  }

  private static List<String> pairs(List<Line> lines) {
    TextTable table = new TextTable("ll");
    for (Line line : lines) {
      table.row(line.what(), line.text());
    }
    return table.lines();
  }
}
