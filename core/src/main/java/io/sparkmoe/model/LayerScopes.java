package io.sparkmoe.model;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import java.util.ArrayList;
import java.util.List;

/**
 * The scopes of a pass's layers: a backward closes each as it leaves the layer, the end of the pass
 * closes the rest.
 */
final class LayerScopes implements AutoCloseable {

  private final Arena arena;
  private final List<Scope> scopes = new ArrayList<>();

  LayerScopes(Arena arena) {
    this.arena = arena;
  }

  Scope open() {
    Scope scope = arena.scope();
    scopes.add(scope);
    return scope;
  }

  @Override
  public void close() {
    scopes.forEach(Scope::close);
  }
}
