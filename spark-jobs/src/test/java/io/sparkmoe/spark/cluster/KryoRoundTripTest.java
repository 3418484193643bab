package io.sparkmoe.spark.cluster;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;

class KryoRoundTripTest {

  private static SparkConf kryo() {
    return new SparkConf(false)
        .set("spark.serializer", "org.apache.spark.serializer.KryoSerializer");
  }

  @Test
  void ourRegistratorBringsArraysAndRowsBack() {
    SparkConf conf = kryo().set("spark.kryo.registrator", MoeKryoRegistrator.class.getName());
    assertThatCode(() -> KryoRoundTrip.check(conf)).doesNotThrowAnyException();
    assertThatCode(() -> KryoRoundTrip.check(conf.set("spark.kryo.registrationRequired", "true")))
        .doesNotThrowAnyException();
  }

  @Test
  void kryoWithoutItIsRefused() {
    assertThatThrownBy(() -> KryoRoundTrip.check(kryo()))
        .isInstanceOf(PreflightException.class)
        .hasMessageContaining("spark.kryo.registrator is unset")
        .hasMessageContaining("expected it to list " + MoeKryoRegistrator.class.getName());
  }

  @Test
  void javaSerializationNeedsNoCheck() {
    assertThatCode(() -> KryoRoundTrip.check(new SparkConf(false))).doesNotThrowAnyException();
  }
}
