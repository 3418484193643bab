package io.sparkmoe.kernel;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteBuffer;

/**
 * A tile that the compiler compiles by itself wherever it is called from: it does not look through
 * a method handle that is no constant. Where a run knows one tile only, an interface alone would
 * not keep it from being inlined into its caller, where it has come out several times slower.
 */
final class SeparatePanelTile implements PanelTile {

  private final MethodHandle tile;

  SeparatePanelTile(PanelTile tile) {
    MethodType type =
        MethodType.methodType(
            void.class,
            float[].class,
            int.class,
            float[].class,
            int.class,
            ByteBuffer.class,
            int.class,
            int.class,
            int.class);
    try {
      this.tile = MethodHandles.lookup().findVirtual(PanelTile.class, "sum", type).bindTo(tile);
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  @Override
  public void sum(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    try {
      tile.invokeExact(sums, lane, x, from, w, at, stride, inputs);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError("tiles throw nothing checked", e);
    }
  }
}
