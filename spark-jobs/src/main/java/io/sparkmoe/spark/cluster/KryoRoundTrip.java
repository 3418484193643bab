package io.sparkmoe.spark.cluster;

import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import java.util.Arrays;
import org.apache.spark.SparkConf;
import org.apache.spark.serializer.KryoSerializer;
import org.apache.spark.serializer.SerializerInstance;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import scala.reflect.ClassTag;
import scala.reflect.ClassTag$;

/**
 * Start-up check that what travels comes back as it was, because Kryo damages an unknown type
 * without a word.
 */
public final class KryoRoundTrip {

  private KryoRoundTrip() {}

  /**
   * Sends an array and a row through the serializer that the settings choose.
   *
   * @throws PreflightException when either comes back changed
   */
  public static void check(SparkConf conf) {
    if (!conf.get("spark.serializer", "").equals(KryoSerializer.class.getName())) {
      return;
    }
    try {
      SerializerInstance kryo = new KryoSerializer(conf).newInstance();
      INDArray array = Nd4j.createFromArray(new float[][] {{1, 2, 3}, {4, 5, 6}});
      TeacherColumns teacher =
          new TeacherColumns(
              new boolean[] {false, true},
              1,
              new int[] {-1, 4},
              new float[] {0, -0.5f},
              new float[] {0, -2});
      TokenRow row = new TokenRow(7, new int[] {1, -2}, new int[] {0}, 2, "de", teacher);
      if (!array.equals(roundTrip(kryo, array, INDArray.class))
          || !same(row, roundTrip(kryo, row, TokenRow.class))) {
        throw new PreflightException(refusal(conf, "came back changed"));
      }
    } catch (PreflightException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new PreflightException(
          refusal(conf, "did not come back (" + e.getClass().getSimpleName() + ")"));
    }
  }

  private static <T> T roundTrip(SerializerInstance kryo, T value, Class<T> type) {
    ClassTag<T> tag = ClassTag$.MODULE$.apply(type);
    return kryo.deserialize(kryo.serialize(value, tag), tag);
  }

  /** Records with array components are equal only when they share them. */
  private static boolean same(TokenRow a, TokenRow b) {
    return a.rowId() == b.rowId()
        && Arrays.equals(a.tokens(), b.tokens())
        && Arrays.equals(a.docStarts(), b.docStarts())
        && a.numTokens() == b.numTokens()
        && a.source().equals(b.source())
        && Arrays.equals(a.teacher().toBytes(), b.teacher().toBytes());
  }

  private static String refusal(SparkConf conf, String what) {
    return "an array or a token row sent through Kryo "
        + what
        + ": spark.kryo.registrator is "
        + conf.get("spark.kryo.registrator", "unset")
        + ", expected it to list "
        + MoeKryoRegistrator.class.getName();
  }
}
