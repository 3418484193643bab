package io.sparkmoe.spark.cluster;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Memory of this machine, or of the container around this process where that is less. */
public final class MachineMemory {

  private static final Path MEMINFO = Path.of("/proc/meminfo");

  private MachineMemory() {}

  /** Bytes that new processes can take without swapping; page cache counts as free. */
  public static long availableBytes() {
    com.sun.management.OperatingSystemMXBean system =
        ManagementFactory.getPlatformMXBean(com.sun.management.OperatingSystemMXBean.class);
    if (Files.isReadable(MEMINFO)) {
      try (Stream<String> lines = Files.lines(MEMINFO)) {
        long available =
            lines
                .filter(line -> line.startsWith("MemAvailable:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) << 10)
                .findFirst()
                .orElse(system.getFreeMemorySize());
        return Math.min(available, system.getTotalMemorySize());
      } catch (IOException e) {
        return system.getFreeMemorySize();
      }
    }
    return system.getFreeMemorySize();
  }
}
