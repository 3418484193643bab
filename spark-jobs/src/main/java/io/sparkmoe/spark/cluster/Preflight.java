package io.sparkmoe.spark.cluster;

final class Preflight {
  private Preflight() {}

  static boolean hasVectorModule() {
    return ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
  }
}
