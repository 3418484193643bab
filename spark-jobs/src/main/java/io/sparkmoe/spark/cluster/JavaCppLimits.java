package io.sparkmoe.spark.cluster;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.bytedeco.javacpp.Pointer;

/**
 * JavaCPP's own limits on native memory, which ND4J's buffers count against, as an executor will
 * have them. Unset, {@code maxbytes} is the heap's size and {@code maxphysicalbytes} (resident
 * memory of the process) that plus three times the heap.
 *
 * @param maxBytes limit on native allocations, 0 for none
 * @param maxPhysicalBytes limit on the process, 0 for none
 */
record JavaCppLimits(long maxBytes, long maxPhysicalBytes) {

  static final String OPTIONS = "spark.executor.extraJavaOptions";
  static final String MAX_BYTES = "org.bytedeco.javacpp.maxbytes";
  static final String MAX_PHYSICAL_BYTES = "org.bytedeco.javacpp.maxphysicalbytes";

  static JavaCppLimits of(SparkConf conf, ClusterShape shape) {
    if (shape.kind() == ClusterShape.Kind.LOCAL) {
      return new JavaCppLimits(Pointer.maxBytes(), Pointer.maxPhysicalBytes());
    }
    String options = conf.get(OPTIONS, "");
    long heap = shape.heapBytes();
    long maxBytes = limit(options, MAX_BYTES, heap, heap);
    return new JavaCppLimits(
        maxBytes, limit(options, MAX_PHYSICAL_BYTES, heap, maxBytes > 0 ? maxBytes + 3 * heap : 0));
  }

  static boolean isSet(String options, String property) {
    return find(options, property) != null;
  }

  private static long limit(String options, String property, long heap, long defaultBytes) {
    String value = find(options, property);
    if (value == null) {
      return defaultBytes;
    }
    try {
      return Pointer.parseBytes(value, heap);
    } catch (NumberFormatException e) {
      throw new PreflightException(
          OPTIONS
              + " has -D"
              + property
              + "="
              + value
              + ", expected bytes such as 4g, or 0 for no limit");
    }
  }

  /** The last of several wins, as in a JVM. */
  private static String find(String options, String property) {
    Matcher matcher =
        Pattern.compile("-D" + Pattern.quote(property) + "=(\\S+)", Pattern.CASE_INSENSITIVE)
            .matcher(options);
    String value = null;
    while (matcher.find()) {
      value = matcher.group(1);
    }
    return value;
  }
}
