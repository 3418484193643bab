package io.sparkmoe.spark.cluster;

import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.KryoException;
import com.esotericsoftware.kryo.Serializer;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import com.esotericsoftware.kryo.serializers.JavaSerializer;
import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.distill.DistillationRow;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import org.apache.spark.serializer.KryoRegistrator;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.cpu.nativecpu.NDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Teaches Kryo the types that travel between Spark's processes. Left alone, Kryo writes an INDArray
 * without its native buffer and the copy fails at its first use; and it cannot set the fields of a
 * record.
 */
public final class MoeKryoRegistrator implements KryoRegistrator {

  @Override
  public void registerClasses(Kryo kryo) {
    Serializer<INDArray> arrays = new ArraySerializer();
    kryo.register(NDArray.class, arrays);
    kryo.addDefaultSerializer(INDArray.class, arrays);
    kryo.register(TokenRow.class, new TokenRowSerializer());
    kryo.register(TokenRow[].class);
    // Mostly text and optional arrays, where Java's own format for records costs little.
    kryo.register(DistillationRow.class, new JavaSerializer());
    kryo.register(int[].class);
  }

  /** An array in ND4J's own binary format, shape and type included. */
  private static final class ArraySerializer extends Serializer<INDArray> {
    @Override
    public void write(Kryo kryo, Output output, INDArray array) {
      try {
        DataOutputStream out = new DataOutputStream(output);
        Nd4j.write(array, out);
        out.flush();
      } catch (IOException e) {
        throw new KryoException("cannot write an array of shape " + array.shapeInfoToString(), e);
      }
    }

    @Override
    public INDArray read(Kryo kryo, Input input, Class<INDArray> type) {
      return Nd4j.read(new DataInputStream(input));
    }
  }

  /** The components in their order; an array is its length and its values. */
  private static final class TokenRowSerializer extends Serializer<TokenRow> {
    TokenRowSerializer() {
      super(false, true);
    }

    @Override
    public void write(Kryo kryo, Output output, TokenRow row) {
      output.writeLong(row.rowId());
      writeInts(output, row.tokens());
      writeInts(output, row.docStarts());
      output.writeInt(row.numTokens());
      output.writeString(row.source());
      byte[] teacher = row.teacher() == null ? new byte[0] : row.teacher().toBytes();
      output.writeInt(teacher.length, true);
      output.writeBytes(teacher);
    }

    @Override
    public TokenRow read(Kryo kryo, Input input, Class<TokenRow> type) {
      return new TokenRow(
          input.readLong(),
          readInts(input),
          readInts(input),
          input.readInt(),
          input.readString(),
          readTeacher(input));
    }

    private static TeacherColumns readTeacher(Input input) {
      int length = input.readInt(true);
      return length == 0 ? null : TeacherColumns.fromBytes(input.readBytes(length));
    }

    private static void writeInts(Output output, int[] values) {
      output.writeInt(values.length, true);
      output.writeInts(values);
    }

    private static int[] readInts(Input input) {
      return input.readInts(input.readInt(true));
    }
  }
}
