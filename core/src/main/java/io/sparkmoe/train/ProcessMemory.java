package io.sparkmoe.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Resident size of this process, as the operating system counts it. */
public final class ProcessMemory {

  private static final Path STATUS = Path.of("/proc/self/status");

  private ProcessMemory() {}

  /** Resident bytes now, or -1 where the system does not tell. */
  public static long residentBytes() {
    return field("VmRSS:");
  }

  /** Largest resident bytes so far, or -1 where the system does not tell. */
  public static long peakResidentBytes() {
    return field("VmHWM:");
  }

  private static long field(String name) {
    try {
      for (String line : Files.readAllLines(STATUS)) {
        if (line.startsWith(name)) {
          return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
        }
      }
    } catch (IOException e) {
      return -1;
    }
    return -1;
  }
}
