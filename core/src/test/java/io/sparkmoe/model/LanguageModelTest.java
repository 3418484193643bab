package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.moe.GateSite;
import io.sparkmoe.moe.Routing;
import io.sparkmoe.moe.TokenDispatcher;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Laws of whole passes. */
class LanguageModelTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final LossScales SCALES = new LossScales(0.1, new double[] {0.03}, 0.01);

  private final SplittableRandom random = new SplittableRandom(SEED);

  private TinyModel tiny(DType type) {
    return new TinyModel(
            TinyModel.config(Map.of("num_nextn_predict_layers", 1)), type, new ReferenceKernels())
        .randomise(random);
  }

  private static Map<String, float[]> gradients(TinyModel tiny) {
    Map<String, float[]> gradients = new TreeMap<>();
    for (Parameter parameter : tiny.parameters.all()) {
      if (parameter.gradient() != null) {
        gradients.put(parameter.name(), parameter.gradient().toFloatArray());
      }
    }
    return gradients;
  }

  private static void assertClose(
      Map<String, float[]> actual, Map<String, float[]> expected, double tolerance) {
    assertThat(actual.keySet()).isEqualTo(expected.keySet());
    expected.forEach(
        (name, values) -> {
          for (int i = 0; i < values.length; i++) {
            assertThat((double) actual.get(name)[i])
                .as("%s[%d]", name, i)
                .isCloseTo(values[i], within(tolerance));
          }
        });
  }

  /** Law: evaluating gives the losses that training would, leaves gradients and load alone. */
  @Test
  void evaluationIsTheForwardOfTraining() {
    try (TinyModel tiny = tiny(DType.F32)) {
      TokenBatch batch = tiny.batch(random, 6, 6, 4);
      Losses evaluated = tiny.model.evaluate(1, 1, batch, tiny.arena);
      assertThat(tiny.kernels.sumOfSquares(tiny.parameters.find("lm_head.weight").gradient()))
          .isZero();
      assertThat(tiny.gate.load(1)).containsOnly(0);
      Losses trained = tiny.model.train(1, 0, batch, SCALES, tiny.arena);
      assertThat(evaluated).usingRecursiveComparison().isEqualTo(trained);
      assertThat(trained.mainCount()).isEqualTo(10);
      assertThat(trained.mtpCount()).containsExactly(8);
      assertThat(tiny.gate.load(1))
          .satisfies(load -> assertThat(Arrays.stream(load).sum()).isEqualTo(30));
      assertThat(tiny.gate.load(2))
          .satisfies(load -> assertThat(Arrays.stream(load).sum()).isEqualTo(24));
    }
  }

  /** Law: a batch in one piece or in micro-batches gives the same sums. */
  @Test
  void microBatchesAddUp() {
    int[][] rows = new int[3][];
    for (int b = 0; b < rows.length; b++) {
      rows[b] = random.ints(7, 0, 13).toArray();
    }
    try (TinyModel tiny = tiny(DType.F64)) {
      Losses whole =
          tiny.model.train(
              1, 0, TinyModel.batch(rows, new int[] {6, 5, 3}, 1, tiny.scope), SCALES, tiny.arena);
      Map<String, float[]> expected = gradients(tiny);
      tiny.parameters.zeroGradients();
      double main = 0;
      int[] valid = {6, 5, 3};
      for (int b = 0; b < rows.length; b++) {
        TokenBatch one =
            TinyModel.batch(new int[][] {rows[b]}, new int[] {valid[b]}, 1, tiny.scope);
        main += tiny.model.train(2, b, one, SCALES, tiny.arena).mainSum();
      }
      assertThat(main).isCloseTo(whole.mainSum(), within(1e-10));
      assertClose(gradients(tiny), expected, 1e-7);
    }
  }

  /** Law: what stands in the padding changes no loss, no gradient and no load. */
  @Test
  void paddingDoesNotMatter() {
    int[] row = random.ints(7, 0, 13).toArray();
    try (TinyModel tiny = tiny(DType.F64)) {
      Losses first =
          tiny.model.train(
              1,
              0,
              TinyModel.batch(new int[][] {row}, new int[] {3}, 1, tiny.scope),
              SCALES,
              tiny.arena);
      Map<String, float[]> expected = gradients(tiny);
      long[] load = tiny.gate.load(1);
      tiny.parameters.zeroGradients();
      tiny.gate.resetLoads();
      int[] changed = row.clone();
      for (int i = 4; i < changed.length; i++) {
        changed[i] = (row[i] + 5) % 13;
      }
      Losses second =
          tiny.model.train(
              2,
              0,
              TinyModel.batch(new int[][] {changed}, new int[] {3}, 1, tiny.scope),
              SCALES,
              tiny.arena);
      assertThat(second.mainSum()).isCloseTo(first.mainSum(), within(1e-12));
      assertThat(second.balanceSum()).isCloseTo(first.balanceSum(), within(1e-12));
      assertClose(gradients(tiny), expected, 1e-7);
      assertThat(tiny.gate.load(1)).isEqualTo(load);
    }
  }

  /** Law: a token's output depends on no later token. */
  @Test
  void attentionIsCausal() {
    int[] row = random.ints(9, 0, 13).toArray();
    try (TinyModel tiny = tiny(DType.F32)) {
      int[] changed = row.clone();
      changed[5] = (row[5] + 1) % 13;
      int[] valid = {8};
      Tensor logits =
          tiny.model
              .trace(1, 0, TinyModel.batch(new int[][] {row}, valid, 1, tiny.scope), tiny.scope)
              .logits();
      Tensor other =
          tiny.model
              .trace(1, 0, TinyModel.batch(new int[][] {changed}, valid, 1, tiny.scope), tiny.scope)
              .logits();
      for (int i = 0; i < 5 * 13; i++) {
        assertThat(other.getFloat(i)).isEqualTo(logits.getFloat(i));
      }
      assertThat(other.view(5 * 13, 13).toFloatArray())
          .isNotEqualTo(logits.view(5 * 13, 13).toFloatArray());
    }
  }

  /** A rank without rows still takes part in every exchange. */
  @Test
  void anEmptyMicroBatchPassesThrough() {
    try (TinyModel tiny = tiny(DType.F32)) {
      TokenBatch empty = TinyModel.batch(new int[0][], new int[0], 1, 6, tiny.scope);
      Losses losses = tiny.model.train(1, 0, empty, SCALES, tiny.arena);
      assertThat(losses.mainCount()).isZero();
      assertThat(losses.mainSum()).isZero();
      assertThat(losses.balanceSum()).isZero();
      gradients(tiny).forEach((name, values) -> assertThat(values).as(name).containsOnly(0));
      assertThat(tiny.model.evaluate(1, 1, empty, tiny.arena).mtpCount()).containsExactly(0);
    }
  }

  /** Later steps find the first ones' memory; the same pass gives the same bits. */
  @Test
  void aSteadyStateAllocatesNothingAndRepeatsItsBits() {
    try (TinyModel tiny = tiny(DType.F32)) {
      TokenBatch batch = tiny.batch(random, 6, 6, 4);
      tiny.model.train(1, 0, batch, SCALES, tiny.arena);
      Map<String, float[]> first = gradients(tiny);
      // A free block may serve a smaller tensor, so which blocks there must be shows in the second.
      tiny.model.train(2, 0, batch, SCALES, tiny.arena);
      tiny.parameters.zeroGradients();
      long owned = tiny.arena.ownedBytes();
      long used = tiny.arena.usedBytes();
      tiny.model.train(3, 0, batch, SCALES, tiny.arena);
      assertThat(tiny.arena.ownedBytes()).isEqualTo(owned);
      assertThat(tiny.arena.usedBytes()).isEqualTo(used);
      gradients(tiny)
          .forEach((name, values) -> assertThat(values).as(name).isEqualTo(first.get(name)));
    }
  }

  @Test
  void listenersHearEveryMoeLayer() {
    try (TinyModel tiny = tiny(DType.F32)) {
      TokenBatch batch = tiny.batch(random, 6, 6, 4);
      List<String> heard = new ArrayList<>();
      tiny.model.evaluate(
          1,
          0,
          batch,
          tiny.arena,
          (layer, routing, tokens) -> {
            assertThat(tokens).isSameAs(batch);
            heard.add(layer + ": " + routing.ids().rows());
          });
      assertThat(heard).containsExactly("1: 12", "2: 10");
    }
  }

  /** A dispatcher that changes what it returns in some method of its results. */
  private static TokenDispatcher spoiling(
      TokenDispatcher dispatcher, long dropped, String failing) {
    return new TokenDispatcher() {
      @Override
      public Dispatched dispatch(
          GateSite site, Tensor x, Routing routing, Scope saved, Allocator arrived, Scope scratch) {
        Dispatched real = dispatcher.dispatch(site, x, routing, saved, arrived, scratch);
        return (Dispatched)
            Proxy.newProxyInstance(
                Dispatched.class.getClassLoader(),
                new Class<?>[] {Dispatched.class},
                (proxy, method, arguments) ->
                    method.getName().equals("droppedTokens")
                        ? dropped
                        : method.invoke(real, arguments));
      }

      @Override
      public Tensor outputs(Dispatched dispatched, Tensor y, Scope scratch) {
        return y;
      }

      @Override
      public void combine(
          GateSite site, Dispatched dispatched, Tensor y, Tensor outputs, Scope scratch) {
        if (failing.equals("combine")) {
          throw new IllegalStateException("the wire broke");
        }
      }

      @Override
      public Tensor combineBackward(
          GateSite site, Dispatched dispatched, Tensor dy, Scope scratch) {
        throw new IllegalStateException("the wire broke on the way back");
      }

      @Override
      public Tensor tokenGradients(Dispatched dispatched, Tensor dx, Scope scratch) {
        return dx;
      }

      @Override
      public void dispatchBackward(
          GateSite site,
          Dispatched dispatched,
          Tensor dx,
          Tensor dWeights,
          Tensor dTokens,
          Tensor dRowWeights,
          Scope scratch) {
        throw new AssertionError("never reached");
      }
    };
  }

  @Test
  void droppedTokensAreCountedFromTheDispatch() {
    try (TinyModel tiny = tiny(DType.F32)) {
      LanguageModel model =
          new LanguageModel(
              tiny.parameters, tiny.gate, spoiling(tiny.dispatcher, 3, ""), tiny.kernels);
      assertThat(model.evaluate(1, 0, tiny.batch(random, 6, 6), tiny.arena).droppedTokens())
          .isEqualTo(6);
    }
  }

  @Test
  void aFailureInsideAPassLeaksNothing() {
    try (TinyModel tiny = tiny(DType.F32)) {
      TokenBatch batch = tiny.batch(random, 6, 6);
      long used = tiny.arena.usedBytes();
      for (String failing : List.of("combine", "combineBackward")) {
        LanguageModel model =
            new LanguageModel(
                tiny.parameters, tiny.gate, spoiling(tiny.dispatcher, 0, failing), tiny.kernels);
        int step = failing.length();
        assertThatThrownBy(() -> model.train(step, 0, batch, SCALES, tiny.arena))
            .hasMessageStartingWith("the wire broke");
        assertThat(tiny.arena.usedBytes()).as(failing).isEqualTo(used);
      }
    }
  }

  @Test
  void batchesThatDoNotFitTheModelAreRefused() {
    try (TinyModel tiny = tiny(DType.F32)) {
      TokenBatch deep = TinyModel.batch(new int[][] {{1, 2, 3, 4}}, new int[] {3}, 2, tiny.scope);
      assertThatThrownBy(() -> tiny.model.evaluate(1, 0, deep, tiny.arena))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("the batch has targets of 2 MTP depths, the model has 1 MTP modules");
      TokenBatch narrow = TinyModel.batch(new int[][] {{1, 2}}, new int[] {1}, 1, tiny.scope);
      assertThatThrownBy(() -> tiny.model.evaluate(1, 0, narrow, tiny.arena))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("a sequence must have more tokens than the model has MTP modules=1, got 1");
    }
  }
}
