package io.sparkmoe.model;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.tensor.Tensor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;

/**
 * Reference kernels whose choice of experts is recorded in the first pass and repeated in every
 * later one, since the choice is a step function and only what follows from it can be differenced.
 */
final class FrozenRouting {

  private final Kernels reference = new ReferenceKernels();
  private final List<int[]> choices = new ArrayList<>();
  private int next;
  private boolean recorded;

  /** The kernels to build a model on. */
  Kernels kernels() {
    return (Kernels)
        Proxy.newProxyInstance(
            Kernels.class.getClassLoader(),
            new Class<?>[] {Kernels.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("selectExperts") && recorded) {
                repeat((Tensor) arguments[0]);
                return null;
              }
              try {
                Object result = method.invoke(reference, arguments);
                if (method.getName().equals("selectExperts")) {
                  choices.add(((Tensor) arguments[0]).toIntArray());
                }
                return result;
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  /** Ends the recording, or begins the next repetition. */
  void freeze() {
    if (recorded && next != choices.size()) {
      throw new IllegalStateException(
          "a pass chose " + next + " times, the first one " + choices.size() + " times");
    }
    recorded = true;
    next = 0;
  }

  private void repeat(Tensor ids) {
    int[] choice = choices.get(next++);
    for (int i = 0; i < choice.length; i++) {
      ids.setInt(i, choice[i]);
    }
  }
}
