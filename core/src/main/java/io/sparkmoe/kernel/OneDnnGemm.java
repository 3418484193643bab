package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.engine;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.dnnl.matmul;
import org.bytedeco.dnnl.memory;
import org.bytedeco.dnnl.post_ops;
import org.bytedeco.dnnl.primitive_attr;
import org.bytedeco.dnnl.stream;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.nativeblas.NativeOpsHolder;

/**
 * oneDNN. A product is cut along its token dimension (rows of c, or the inner size when a is
 * transposed, which is how weight gradients come): blocks of a few sizes go to a {@code matmul}
 * primitive compiled for exactly that shape, and the fewer than {@value #UNIT} rows that remain go
 * to oneDNN's {@code sgemm}, which needs no compilation. A primitive takes 0.4 to 0.7 ms to make
 * and 150 to 300 kB to keep, and experts get every number of rows there is; with this cut a weight
 * needs at most {@code BLOCK / UNIT} primitives a product. BF16 inputs have no such call: their
 * unit is {@value #BFLOAT16_UNIT}, and fewer rows are padded to it with rows of zeros.
 *
 * <p>Primitives belong to a thread: no lock, and each has its own data handles.
 */
final class OneDnnGemm extends WideningGemm {

  static final String NAME = "onednn";

  /** Multiplies F32 only. */
  static final String NAME_F32 = "onednn-f32";

  /** Step of the row counts that get a primitive: below it, {@code sgemm} is as fast. */
  static final int UNIT = 32;

  /** The same for BF16 inputs, which have no such call. */
  static final int BFLOAT16_UNIT = 8;

  /** Largest row count of a primitive; longer products are several blocks. */
  static final int BLOCK = 256;

  /** Primitives that a thread keeps, the least recently used goes first. */
  private static final int CACHE_SIZE = 512;

  private final boolean nativeBfloat16;
  private final engine cpu = new engine(engine.kind.cpu, 0);
  private final Queue<Session> sessions = new ConcurrentLinkedQueue<>();
  private final ThreadLocal<Session> session = ThreadLocal.withInitial(this::openSession);

  /**
   * @param nativeBfloat16 whether BF16 inputs are multiplied as such, and not after widening to F32
   */
  OneDnnGemm(boolean nativeBfloat16) {
    this.nativeBfloat16 = nativeBfloat16;
  }

  /**
   * BF16 where the processor multiplies it (AVX512-BF16, AMX); elsewhere oneDNN has an emulation,
   * which is slower than F32.
   */
  static DType bestOperandType() {
    int bfloat16 = dnnl.dnnl_cpu_isa_avx512_core_bf16;
    boolean has = (dnnl.dnnl_get_effective_cpu_isa() & bfloat16) == bfloat16;
    return has ? DType.BF16 : DType.F32;
  }

  @Override
  public int bfloat16Unit() {
    return nativeBfloat16 ? BFLOAT16_UNIT : 1;
  }

  @Override
  public DType operandType() {
    return nativeBfloat16 ? bestOperandType() : DType.F32;
  }

  private Session openSession() {
    // An OpenMP setting belongs to a thread and the bindings of oneDNN do not offer it; ND4J's do,
    // on the same libgomp.
    // ND4J's holder of natives works only after ND4J itself has started, which asking for its
    // backend sees to.
    Nd4j.getBackend();
    NativeOpsHolder.getInstance().getDeviceNativeOps().setOmpNumThreads(1);
    Session opened = new Session(this, cpu);
    sessions.add(opened);
    return opened;
  }

  @Override
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      long a,
      int lda,
      long b,
      int ldb,
      long c,
      int ldc,
      boolean accumulate) {
    Session own = session.get();
    if (k == 0 && m > 0 && n > 0) {
      int leadA = Math.max(1, lda);
      int leadB = Math.max(1, ldb);
      own.sgemm(transposeA, transposeB, m, n, 0, c, leadA, c, leadB, c, ldc, accumulate);
      return;
    }
    blocks(
        Float.BYTES,
        UNIT,
        transposeA,
        transposeB,
        m,
        n,
        k,
        a,
        lda,
        b,
        ldb,
        c,
        ldc,
        accumulate,
        own.f32);
  }

  @Override
  public void multiplyBfloat16(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      long a,
      int lda,
      long b,
      int ldb,
      long c,
      int ldc,
      boolean accumulate) {
    if (!nativeBfloat16 || k == 0) {
      multiplyWidened(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
      return;
    }
    Session own = session.get();
    blocks(
        Short.BYTES,
        BFLOAT16_UNIT,
        transposeA,
        transposeB,
        m,
        n,
        k,
        a,
        lda,
        b,
        ldb,
        c,
        ldc,
        accumulate,
        own.bfloat16);
  }

  /** The product after widening the inputs. */
  private void multiplyWidened(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      long a,
      int lda,
      long b,
      int ldb,
      long c,
      int ldc,
      boolean accumulate) {
    super.multiplyBfloat16(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
  }

  /** {@link Gemm#multiply} of one block. */
  @FunctionalInterface
  private interface Block {
    void multiply(
        boolean transposeA,
        boolean transposeB,
        int m,
        int n,
        int k,
        long a,
        int lda,
        long b,
        int ldb,
        long c,
        int ldc,
        boolean accumulate);
  }

  /** Cuts a product along its tokens. */
  private static void blocks(
      int elementBytes,
      int unit,
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      long a,
      int lda,
      long b,
      int ldb,
      long c,
      int ldc,
      boolean accumulate,
      Block product) {
    if (m == 0 || n == 0) {
      return;
    }
    int tokens = transposeA ? k : m;
    for (int first = 0; first < tokens; ) {
      int left = tokens - first;
      int block = left >= BLOCK ? BLOCK : left >= unit ? left / unit * unit : left;
      long aBlock = a + (long) elementBytes * first * lda;
      if (transposeA) {
        long bBlock = b + (long) elementBytes * first * (transposeB ? 1 : ldb);
        boolean add = accumulate || first > 0;
        product.multiply(true, transposeB, m, n, block, aBlock, lda, bBlock, ldb, c, ldc, add);
      } else {
        long cBlock = c + (long) Float.BYTES * first * ldc;
        product.multiply(
            false, transposeB, block, n, k, aBlock, lda, b, ldb, cBlock, ldc, accumulate);
      }
      first += block;
    }
  }

  @Override
  public String name() {
    return nativeBfloat16 ? NAME : NAME_F32;
  }

  /** Frees the primitives of every thread; no call may be under way. */
  @Override
  public void close() {
    for (Session opened = sessions.poll(); opened != null; opened = sessions.poll()) {
      opened.close();
    }
    cpu.close();
  }

  private static void check(int status, String call) {
    if (status != 0) {
      throw new IllegalStateException("oneDNN " + call + " failed with status " + status);
    }
  }

  /** What makes two products one primitive. */
  private record Shape(
      memory.data_type inputs,
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      int lda,
      int ldb,
      int ldc,
      boolean accumulate) {}

  /** One thread's primitives. */
  private static final class Session implements AutoCloseable {
    private final OneDnnGemm owner;
    private final engine cpu;
    private final stream order;
    private final dnnl_stream orderHandle;
    private final NativeFloats a = new NativeFloats();
    private final NativeFloats b = new NativeFloats();
    private final NativeFloats c = new NativeFloats();
    private final Map<Shape, Product> products =
        new LinkedHashMap<>(64, 0.75f, true) {
          @Override
          protected boolean removeEldestEntry(Map.Entry<Shape, Product> eldest) {
            if (size() > CACHE_SIZE) {
              eldest.getValue().close();
              return true;
            }
            return false;
          }
        };

    private final PaddedOperands padding = new PaddedOperands();

    /** Products of F32 inputs. */
    private final Block f32 = this::multiplyF32;

    /** Products of BF16 inputs. */
    private final Block bfloat16 = this::multiplyBfloat16;

    Session(OneDnnGemm owner, engine cpu) {
      this.owner = owner;
      this.cpu = cpu;
      this.order = new stream(cpu);
      this.orderHandle = order.get();
    }

    private void multiplyF32(
        boolean transposeA,
        boolean transposeB,
        int m,
        int n,
        int k,
        long aAt,
        int lda,
        long bAt,
        int ldb,
        long cAt,
        int ldc,
        boolean accumulate) {
      if (hasPrimitive(transposeA, m, n, k, UNIT)) {
        Shape shape =
            new Shape(
                memory.data_type.f32, transposeA, transposeB, m, n, k, lda, ldb, ldc, accumulate);
        run(shape, aAt, bAt, cAt);
      } else {
        sgemm(transposeA, transposeB, m, n, k, aAt, lda, bAt, ldb, cAt, ldc, accumulate);
      }
    }

    private void multiplyBfloat16(
        boolean transposeA,
        boolean transposeB,
        int m,
        int n,
        int k,
        long aAt,
        int lda,
        long bAt,
        int ldb,
        long cAt,
        int ldc,
        boolean accumulate) {
      memory.data_type bf16 = memory.data_type.bf16;
      int padded = BFLOAT16_UNIT;
      if (hasPrimitive(transposeA, m, n, k, BFLOAT16_UNIT)) {
        run(
            new Shape(bf16, transposeA, transposeB, m, n, k, lda, ldb, ldc, accumulate),
            aAt,
            bAt,
            cAt);
      } else if (!transposeA && n > 1 && k > 1) {
        long rows = padding.left(aAt, m, k, lda, padded);
        run(
            new Shape(bf16, false, transposeB, padded, n, k, k, ldb, n, false),
            rows,
            bAt,
            padding.result(padded, n));
        padding.storeResult(m, n, cAt, ldc, accumulate);
      } else if (transposeA && !transposeB && m > 1 && n > 1) {
        run(
            new Shape(bf16, true, false, m, n, padded, m, n, ldc, accumulate),
            padding.left(aAt, k, m, lda, padded),
            padding.right(bAt, k, n, ldb, padded),
            cAt);
      } else {
        owner.multiplyWidened(
            transposeA, transposeB, m, n, k, aAt, lda, bAt, ldb, cAt, ldc, accumulate);
      }
    }

    private static boolean hasPrimitive(boolean transposeA, int m, int n, int k, int unit) {
      // A matrix one element wide reads as dense whatever its stride says: matmul 3.8.1 then writes
      // between the rows.
      boolean vector = m == 1 || n == 1 || k == 1;
      return !vector && (transposeA ? k : m) >= unit;
    }

    private void run(Shape shape, long aAt, long bAt, long cAt) {
      Product product = products.get(shape);
      if (product == null) {
        product = new Product(shape, cpu);
        products.put(shape, product);
      }
      product.run(a.moveTo(aAt), b.moveTo(bAt), c.moveTo(cAt), orderHandle);
    }

    void sgemm(
        boolean transposeA,
        boolean transposeB,
        int m,
        int n,
        int k,
        long aAt,
        int lda,
        long bAt,
        int ldb,
        long cAt,
        int ldc,
        boolean accumulate) {
      byte opA = (byte) (transposeA ? 'T' : 'N');
      byte opB = (byte) (transposeB ? 'T' : 'N');
      float beta = accumulate ? 1 : 0;
      check(
          dnnl.dnnl_sgemm(
              opA,
              opB,
              m,
              n,
              k,
              1,
              a.moveTo(aAt),
              lda,
              b.moveTo(bAt),
              ldb,
              beta,
              c.moveTo(cAt),
              ldc),
          "sgemm");
    }

    @Override
    public void close() {
      products.values().forEach(Product::close);
      products.clear();
      order.close();
    }
  }

  /** A compiled product and the three memories that it reads and writes. */
  private static final class Product implements AutoCloseable {
    private final matmul compiled;
    private final memory[] memories = new memory[3];
    private final dnnl_primitive handle;
    private final dnnl_memory[] memoryHandles = new dnnl_memory[3];
    private final dnnl_exec_arg_t arguments = new dnnl_exec_arg_t(3);

    Product(Shape shape, engine cpu) {
      try (memory.desc aLayout =
              layout(shape.inputs, shape.m, shape.k, shape.lda, shape.transposeA);
          memory.desc bLayout =
              layout(shape.inputs, shape.k, shape.n, shape.ldb, shape.transposeB);
          memory.desc cLayout = layout(memory.data_type.f32, shape.m, shape.n, shape.ldc, false);
          primitive_attr attributes = new primitive_attr();
          post_ops after = new post_ops()) {
        if (shape.accumulate) {
          after.append_sum();
          attributes.set_post_ops(after);
        }
        try (matmul.primitive_desc description =
            new matmul.primitive_desc(cpu, aLayout, bLayout, cLayout, attributes, false)) {
          compiled = new matmul(description);
        }
        handle = compiled.get();
        addMemory(0, dnnl.DNNL_ARG_SRC, aLayout, cpu);
        addMemory(1, dnnl.DNNL_ARG_WEIGHTS, bLayout, cpu);
        addMemory(2, dnnl.DNNL_ARG_DST, cLayout, cpu);
        arguments.position(0);
      }
    }

    private static memory.desc layout(
        memory.data_type type, int rows, int columns, int lead, boolean transposed) {
      long[] strides = transposed ? new long[] {1, lead} : new long[] {lead, 1};
      return new memory.desc(new long[] {rows, columns}, type, strides);
    }

    private void addMemory(int slot, int role, memory.desc layout, engine cpu) {
      // A null address: the data come by set_data_handle before every run.
      memories[slot] = new memory(layout, cpu, new FloatPointer());
      memoryHandles[slot] = memories[slot].get();
      arguments.position(slot).arg(role).memory(memoryHandles[slot]);
    }

    void run(Pointer a, Pointer b, Pointer c, dnnl_stream order) {
      check(dnnl.dnnl_memory_set_data_handle(memoryHandles[0], a), "set_data_handle");
      check(dnnl.dnnl_memory_set_data_handle(memoryHandles[1], b), "set_data_handle");
      check(dnnl.dnnl_memory_set_data_handle(memoryHandles[2], c), "set_data_handle");
      check(dnnl.dnnl_primitive_execute(handle, order, 3, arguments), "matmul");
    }

    @Override
    public void close() {
      arguments.close();
      compiled.close();
      for (memory operand : memories) {
        operand.close();
      }
    }
  }
}
