package io.sparkmoe.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PlotsTest {

  @TempDir Path folder;

  @Test
  void everyPictureOfARunIsAReadablePng() throws IOException {
    try (Store run = new LocalStore(folder)) {
      List<String> paths = Plots.write(run, SampleRun.metrics(60), SampleRun.experts());
      assertThat(paths)
          .containsExactly(
              "plots/loss.png",
              "plots/expert-load.png",
              "plots/experts-by-source-layer-1.png",
              "plots/experts-by-source-mtp-1.png");
      for (String path : paths) {
        assertThat(colours(run, path)).as("distinct colours of %s", path).isGreaterThan(3);
      }
    }
  }

  @Test
  void aFullSizedHeatMapShowsItsDiagonal() throws IOException {
    SplittableRandom random = new SplittableRandom(Long.getLong("moe.seed", 3));
    long[][] counts = new long[21][256];
    for (int s = 0; s < counts.length; s++) {
      for (int e = 0; e < 256; e++) {
        counts[s][e] = e % 21 == s ? 400 + random.nextInt(200) : random.nextInt(40);
      }
    }
    List<String> sources = IntStream.range(0, 21).mapToObj(s -> "s" + s).toList();
    try (Store run = new LocalStore(folder)) {
      List<ExpertUse> use = List.of(new ExpertUse("layer 3", sources, counts));
      List<String> paths = Plots.write(run, SampleRun.metrics(300), use);
      assertThat(paths).contains("plots/experts-by-source-layer-3.png");
      assertThat(colours(run, "plots/experts-by-source-layer-3.png")).isGreaterThan(50);
    }
  }

  private static long colours(Store run, String path) throws IOException {
    try (InputStream in = run.open(path)) {
      BufferedImage image = ImageIO.read(in);
      assertThat(image.getWidth()).isGreaterThanOrEqualTo(1000);
      return IntStream.range(0, image.getWidth() * image.getHeight())
          .map(i -> image.getRGB(i % image.getWidth(), i / image.getWidth()))
          .distinct()
          .count();
    }
  }
}
