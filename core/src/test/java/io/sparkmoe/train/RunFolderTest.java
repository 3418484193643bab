package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.FaultyStore;
import io.sparkmoe.io.InsufficientSpaceException;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Sha256;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.DistillConfig.Loss;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a run refuses before it writes anything. */
class RunFolderTest {

  private static final DataIdentity DATA = new DataIdentity("sha of a tokenizer", null);
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder;

  @Test
  @DisplayName("a disk without room for one checkpoint is refused and nothing is written")
  void refusesAFullDisk() throws Exception {
    RunConfig config = new TinyRun().config();
    long needed = CheckpointStore.expectedBytes(config.model(), DType.F32);
    LocalStore store = new LocalStore(folder.resolve("run"));
    FaultyStore full = new FaultyStore(store).withUsableBytes(needed - 1);
    assertThatThrownBy(() -> new RunFolder(full).requireRoomFor(config, DATA, Resume.auto()))
        .isInstanceOf(InsufficientSpaceException.class)
        .hasMessageContaining("not enough space for a checkpoint: " + store.location());
    assertThat(store.list("")).isEmpty();
    FaultyStore roomy = new FaultyStore(store).withUsableBytes(needed);
    assertThatCode(() -> new RunFolder(roomy).requireRoomFor(config, DATA, Resume.auto()))
        .doesNotThrowAnyException();
  }

  @Test
  @DisplayName("a run without its summary may end, a finished one needs more steps")
  void tellsAFinishedRun() throws Exception {
    TinyRun tiny = new TinyRun().with("steps", 2);
    RunResult result = tiny.in(folder).run();
    RunFolder run = new RunFolder(new LocalStore(folder));
    run.writeInputs("", "");
    assertThat(run.isFinished(2)).isFalse();
    run.requireRoomFor(tiny.config(), DataIdentity.UNKNOWN, Resume.auto());

    run.writeSummary(RunSummary.of(tiny.config(), result, 1, 1, 0, 1));
    assertThat(run.isFinished(2)).isTrue();
    assertThatThrownBy(() -> run.requireRoomFor(tiny.config(), DataIdentity.UNKNOWN, Resume.auto()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageEndingWith(
            "holds a run that has finished its 2 steps, train.steps is 2;"
                + " raise train.steps to train on");
    run.requireRoomFor(tiny.with("steps", 3).config(), DataIdentity.UNKNOWN, Resume.auto());
    assertThatThrownBy(
            () ->
                run.requireRoomFor(
                    tiny.with("steps", 1).config(), DataIdentity.UNKNOWN, Resume.auto()))
        .hasMessageContaining("raise train.steps");

    run.writeInputs("", "");
    assertThat(run.isFinished(2)).isFalse();
    assertThatThrownBy(
            () ->
                run.requireRoomFor(
                    tiny.with("steps", 1).config(), DataIdentity.UNKNOWN, Resume.auto()))
        .hasMessageContaining("has seen 2 steps, train.steps is 1");
  }

  @Test
  @DisplayName("a run that goes on takes down the summary and the report of the finished one")
  void forgetsTheFinishedRun() throws Exception {
    Files.writeString(folder.resolve(RunSummary.FILE), "{\"steps\": 300}");
    Files.writeString(folder.resolve(RunFolder.REPORT_FILE), "300 steps");
    new RunFolder(new LocalStore(folder)).writeInputs("", "");
    assertThat(folder.resolve(RunSummary.FILE)).doesNotExist();
    assertThat(folder.resolve(RunFolder.REPORT_FILE)).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "{\"steps\": 4", "[]", "{\"steps\": null}"})
  @DisplayName("a damaged summary is named with what to do")
  void namesADamagedSummary(String text) throws Exception {
    RunFolder run = new RunFolder(new LocalStore(folder));
    run.writeInputs("", "");
    Path summary = Files.writeString(folder.resolve(RunSummary.FILE), text);
    RunConfig config = new TinyRun().config();
    assertThatThrownBy(() -> run.requireRoomFor(config, DATA, Resume.auto()))
        .isInstanceOf(CorruptFileException.class)
        .hasMessageStartingWith(summary + " is damaged: it ")
        .hasMessageEndingWith(
            ", expected the summary of a finished run; delete it, the run then ends again and"
                + " writes it anew");
    assertThat(summary).hasContent(text);
  }

  @Test
  @DisplayName("damaged metrics are named before anything is written")
  void namesDamagedMetrics() throws Exception {
    RunFolder run = new RunFolder(new LocalStore(folder));
    run.writeInputs("", "");
    Path metrics = Files.writeString(folder.resolve(MetricsLog.FILE), "{\n{\"step\": 2}\n");
    RunConfig config = new TinyRun().config();
    assertThatThrownBy(() -> run.requireRoomFor(config, DATA, Resume.auto()))
        .hasMessageStartingWith(metrics + " is damaged: line 1 is no step's metrics");
  }

  @Test
  @DisplayName("what quickstart leaves before its run is no obstacle")
  void allowsQuickstartsPreparation() throws Exception {
    Files.writeString(folder.resolve(RunFolder.QUICKSTART_FILE), "");
    Files.createDirectory(folder.resolve(RunFolder.DATA_FOLDER));
    RunFolder run = new RunFolder(new LocalStore(folder));
    run.requireRoomFor(new TinyRun().config(), DATA, Resume.auto());
  }

  @Test
  @DisplayName("a student goes on with the distillation that it began with, key by key")
  void refusesAnotherDistillation() throws Exception {
    TinyRun tiny = new TinyRun().with("steps", 2);
    tiny.in(folder).run();
    RunFolder run = new RunFolder(new LocalStore(folder));
    run.writeInputs("", "");
    tiny.with("steps", 3);
    for (String other :
        List.of(
            "distill.temperature=1.0, this run has 2.0; set distill.temperature=1.0",
            "distill.loss=bucket, this run has zero_tail; set distill.loss=bucket",
            "distill.cross_entropy_weight=0.0, this run has 0.5",
            "distill.mask_prompt=true, this run has false")) {
      DistillConfig changed =
          new DistillConfig(
              other.contains("loss=") ? Loss.ZERO_TAIL : Loss.BUCKET,
              other.contains("temperature") ? 2 : 1,
              other.contains("weight") ? 0.5 : 0,
              !other.contains("mask"));
      RunConfig config = tiny.distill(changed).config();
      assertThatThrownBy(() -> run.requireRoomFor(config, DataIdentity.UNKNOWN, Resume.auto()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("step-00000002 was trained with " + other)
          .hasMessageEndingWith("or start in another folder");
      assertThatThrownBy(tiny.in(folder)::run).hasMessageContaining(other);
    }
  }

  @Test
  @DisplayName("a student goes on with the share that it began to hold out, if that is known")
  void refusesAnotherValidationShare() throws Exception {
    DataIdentity tenth = DATA.withHeldOutShare(0.1);
    TinyRun tiny = new TinyRun().with("steps", 2).data(DATA);
    tiny.in(folder).run();
    tiny.with("steps", 3).data(tenth).run(); // an earlier version did not write it down
    RunFolder run = new RunFolder(new LocalStore(folder));
    run.writeInputs("", "");
    RunConfig config = tiny.with("steps", 4).config();
    for (double other : new double[] {0.05, 0}) {
      DataIdentity changed = DATA.withHeldOutShare(other);
      assertThatThrownBy(() -> run.requireRoomFor(config, changed, Resume.auto()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining(
              "step-00000003 was trained with --validation 0.1, this run has "
                  + other
                  + ", expected the same rows to be held out; give --validation 0.1 or start in"
                  + " another folder");
      assertThatThrownBy(tiny.data(changed)::run).hasMessageContaining("--validation 0.1");
    }
    tiny.data(tenth).run();
  }

  @Test
  @DisplayName("a key that the checkpoint's program did not know counts as its default, aloud")
  void anAbsentKeyCountsAsItsDefault() throws Exception {
    TinyRun tiny = new TinyRun().with("steps", 2);
    tiny.in(folder).run();
    Path manifest = folder.resolve("checkpoints/step-00000002/manifest.json");
    ObjectNode fields = (ObjectNode) JSON.readTree(manifest.toFile());
    ((ObjectNode) fields.path("config")).remove("distill");
    fields.remove("sha256");
    fields.put("sha256", Sha256.hex(fields.toString().getBytes(StandardCharsets.UTF_8)));
    Files.writeString(manifest, fields.toString());

    List<String> said = new ArrayList<>();
    RunListener listener =
        new RunListener() {
          @Override
          public void onStart(int resumedFromStep, List<String> notes) {
            said.addAll(notes);
          }
        };
    tiny.distill(new DistillConfig(Loss.BUCKET, 2, 0, true));
    assertThatThrownBy(tiny::run).hasMessageContaining("distill.temperature=1.0");
    tiny.distill(DistillConfig.defaults()).listener(listener).run();
    assertThat(said)
        .anyMatch(
            note -> note.endsWith("does not say distill.loss, which counts as its default bucket"));
  }

  @Test
  @DisplayName("going on hashes every file of the checkpoint once")
  void verifiesOnce() throws Exception {
    TinyRun tiny = new TinyRun().with("steps", 2);
    tiny.in(folder).run();
    Map<String, Long> read = new ConcurrentHashMap<>();
    FaultyStore counting =
        new FaultyStore(new LocalStore(folder)).onRead((path, n) -> read.merge(path, n, Long::sum));
    new RunFolder(counting).writeInputs("", "");
    new RunFolder(counting).requireRoomFor(tiny.config(), DataIdentity.UNKNOWN, Resume.auto());
    tiny.in(counting).run();
    String optimizer = "checkpoints/step-00000002/optimizer/experts-00000-of-00001.safetensors";
    long size = counting.size(optimizer);
    // Once for the checksum and once for the moments; the rest is headers.
    assertThat(read.get(optimizer)).isBetween(2 * size - size / 4, 2 * size + size / 2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"manifest.json", "state.json", "model/config.json"})
  @DisplayName("a newest checkpoint with a damaged file does not hide the older one")
  void passesOverADamagedCheckpoint(String file) throws Exception {
    new TinyRun().with("steps", 4).with("checkpoint_every", 2).in(folder).run();
    new LocalStore(folder).writeText(RunFolder.CONFIG_FILE, "");
    Path damaged = folder.resolve("checkpoints/step-00000004").resolve(file);
    byte[] bytes = Files.readAllBytes(damaged);
    Files.write(damaged, Arrays.copyOf(bytes, bytes.length / 2));

    RunFolder run = new RunFolder(new LocalStore(folder));
    RunConfig longer = new TinyRun().with("steps", 3).config();
    assertThatCode(() -> run.requireRoomFor(longer, DATA, Resume.auto()))
        .doesNotThrowAnyException();
    RunConfig otherBatch = new TinyRun().with("batch_sequences", 8).config();
    assertThatThrownBy(() -> run.requireRoomFor(otherBatch, DATA, Resume.auto()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("step-00000002 was trained with train.batch_sequences=7");
  }
}
