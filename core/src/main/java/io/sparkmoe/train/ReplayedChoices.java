package io.sparkmoe.train;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Tensor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Iterator;
import java.util.List;

/**
 * Kernels for gates that choose the experts of an earlier pass: everything else, the weights of the
 * choice included, is computed as ever. Shows what a change of numbers does while no token is
 * routed otherwise.
 */
final class ReplayedChoices {

  private final Iterator<int[]> choices;

  /**
   * @param choices expert ids of one pass, one list for each MoE layer in the order of the forward
   */
  ReplayedChoices(List<int[]> choices) {
    this.choices = choices.iterator();
  }

  /** The kernels, for the gates of one forward pass and its backward. */
  Kernels over(Kernels kernels) {
    return (Kernels)
        Proxy.newProxyInstance(
            Kernels.class.getClassLoader(),
            new Class<?>[] {Kernels.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("selectExperts")) {
                write((Tensor) arguments[0]);
                return null;
              }
              try {
                return method.invoke(kernels, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  private void write(Tensor ids) {
    int[] chosen = choices.next();
    for (int i = 0; i < chosen.length; i++) {
      ids.setInt(i, chosen[i]);
    }
  }
}
