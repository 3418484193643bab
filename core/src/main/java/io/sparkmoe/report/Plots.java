package io.sparkmoe.report;

import io.sparkmoe.io.Store;
import io.sparkmoe.train.StepMetrics;
import java.awt.BasicStroke;
import java.awt.Color;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.HeatMapChart;
import org.knowm.xchart.HeatMapChartBuilder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.internal.chartpart.Chart;
import org.knowm.xchart.style.Styler.ChartTheme;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The pictures of a run, written as PNG under {@code plots/} of its folder. */
public final class Plots {

  /** Folder of the pictures within a run's folder. */
  public static final String FOLDER = "plots";

  private static final int WIDTH = 1000;
  private static final int HEIGHT = 600;

  /** Steps over which the training loss is smoothed. */
  private static final int SMOOTHED_STEPS = 20;

  /** Lifts beyond this factor look alike. */
  private static final double LARGEST_LIFT = 16;

  private Plots() {}

  /**
   * Writes all pictures that the run has data for.
   *
   * @param run folder of the run
   * @param use of the MoE layers on the validation rows, may be empty
   * @return paths of the pictures within the run's folder
   */
  public static List<String> write(Store run, RunMetrics metrics, List<ExpertUse> use)
      throws IOException {
    List<String> paths = new ArrayList<>();
    paths.add(save(run, "loss", lossCurve(metrics)));
    if (metrics.last().expertLoadMaxOverMeanByLayer().length > 0) {
      paths.add(save(run, "expert-load", expertLoad(metrics, use)));
    }
    for (ExpertUse layer : use) {
      if (layer.sources().size() > 1) {
        String name =
            "experts-by-source-" + layer.layer().toLowerCase(Locale.ROOT).replace(' ', '-');
        paths.add(save(run, name, expertsBySource(layer)));
      }
    }
    return paths;
  }

  /** Next-token loss in nats over the steps: every step, smoothed, and on the validation rows. */
  static XYChart lossCurve(RunMetrics metrics) {
    XYChart chart = chart("Next-token loss", "nats per token");
    double[] steps = metrics.steps().stream().mapToDouble(StepMetrics::step).toArray();
    double[] loss = metrics.steps().stream().mapToDouble(StepMetrics::mainLoss).toArray();
    line(chart, "training, every step", steps, loss)
        .setLineColor(new Color(160, 190, 230))
        .setLineStyle(new BasicStroke(1));
    line(chart, "training, smoothed over " + SMOOTHED_STEPS + " steps", steps, smooth(loss))
        .setLineColor(new Color(20, 80, 170))
        .setLineStyle(new BasicStroke(2.5f));
    List<StepMetrics> evaluated =
        metrics.steps().stream().filter(s -> s.validationLoss() != null).toList();
    if (!evaluated.isEmpty()) {
      XYSeries validation =
          line(
              chart,
              "validation",
              evaluated.stream().mapToDouble(StepMetrics::step).toArray(),
              evaluated.stream().mapToDouble(StepMetrics::validationLoss).toArray());
      validation.setLineColor(new Color(210, 90, 20)).setLineStyle(new BasicStroke(2.5f));
      validation.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(new Color(210, 90, 20));
    }
    return chart;
  }

  /** Largest over mean expert load of every MoE layer over the steps; 1 is perfect balance. */
  static XYChart expertLoad(RunMetrics metrics, List<ExpertUse> use) {
    XYChart chart = chart("Expert load, largest over mean", "1 = every expert gets as many tokens");
    double[] steps = metrics.steps().stream().mapToDouble(StepMetrics::step).toArray();
    int layers = metrics.last().expertLoadMaxOverMeanByLayer().length;
    for (int layer = 0; layer < layers; layer++) {
      int index = layer;
      double[] load =
          metrics.steps().stream()
              .mapToDouble(s -> s.expertLoadMaxOverMeanByLayer()[index])
              .toArray();
      String name = use.size() == layers ? use.get(layer).layer() : "MoE layer " + (layer + 1);
      line(chart, name, steps, load).setLineStyle(new BasicStroke(1.5f));
    }
    chart.getStyler().setYAxisMin(0.0);
    return chart;
  }

  /** How many times its share each source sends to each expert, logarithmic around 1. */
  static HeatMapChart expertsBySource(ExpertUse use) {
    HeatMapChart chart =
        new HeatMapChartBuilder()
            .width(WIDTH + 200)
            .height(120 + 26 * use.sources().size())
            .title("Which experts each source leans on, " + use.layer())
            .xAxisTitle(
                "expert ids, grouped by the source that they lean to; colour: log2 of share over"
                    + " mean share")
            .theme(ChartTheme.GGPlot2)
            .build();
    int[] experts = use.expertsByLeaning();
    List<Number[]> cells = new ArrayList<>();
    for (int x = 0; x < experts.length; x++) {
      for (int s = 0; s < use.sources().size(); s++) {
        double lift = Math.max(1 / LARGEST_LIFT, Math.min(LARGEST_LIFT, use.lift(s, experts[x])));
        cells.add(new Number[] {x, s, Math.log(lift) / Math.log(2)});
      }
    }
    List<Object> names = new ArrayList<>();
    for (int expert : experts) {
      names.add(expert);
    }
    chart.addSeries("log2 of share over mean share", names, use.sources(), cells);
    double largest = Math.log(LARGEST_LIFT) / Math.log(2);
    chart
        .getStyler()
        .setMin(-largest)
        .setMax(largest)
        .setRangeColors(new Color[] {new Color(30, 60, 140), Color.WHITE, new Color(180, 30, 30)});
    chart.getStyler().setXAxisMaxLabelCount(32);
    chart.getStyler().setPlotContentSize(1.0);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    return chart;
  }

  /** Mean of the last {@link #SMOOTHED_STEPS} values, fewer at the start. */
  private static double[] smooth(double[] values) {
    double[] means = new double[values.length];
    double sum = 0;
    for (int i = 0; i < values.length; i++) {
      sum += values[i];
      if (i >= SMOOTHED_STEPS) {
        sum -= values[i - SMOOTHED_STEPS];
      }
      means[i] = sum / Math.min(i + 1, SMOOTHED_STEPS);
    }
    return means;
  }

  private static XYChart chart(String title, String yTitle) {
    XYChart chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(HEIGHT)
            .title(title)
            .xAxisTitle("step")
            .yAxisTitle(yTitle)
            .theme(ChartTheme.XChart)
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.InsideNE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setXAxisMin(0.0);
    return chart;
  }

  private static XYSeries line(XYChart chart, String name, double[] x, double[] y) {
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
    return series;
  }

  private static String save(Store run, String name, Chart<?, ?> chart) throws IOException {
    String path = FOLDER + "/" + name + ".png";
    try (OutputStream out = run.create(path)) {
      BitmapEncoder.saveBitmap(chart, out, BitmapFormat.PNG);
    }
    return path;
  }
}
