package io.sparkmoe.checkpoint;

import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Elements;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * AdamW's moments of the parameters that one end trains, by the parameters' names.
 *
 * @param first moving averages of the gradients
 * @param second moving averages of their squares, of the same names
 */
public record Moments(SortedMap<String, Elements> first, SortedMap<String, Elements> second) {

  /**
   * Moments of parameters but the selection biases, which have none.
   *
   * @param parameters holds the names
   * @param first finds a first moment by name
   * @param second finds a second moment by name
   */
  public static Moments of(
      Parameters parameters, Function<String, Elements> first, Function<String, Elements> second) {
    Moments moments = new Moments(new TreeMap<>(), new TreeMap<>());
    for (Parameter parameter : parameters.all()) {
      String name = parameter.name();
      if (!Parameters.isSelectionBias(name)) {
        moments.first.put(name, first.apply(name));
        moments.second.put(name, second.apply(name));
      }
    }
    return moments;
  }
}
