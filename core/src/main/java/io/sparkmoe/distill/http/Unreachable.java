package io.sparkmoe.distill.http;

import io.sparkmoe.distill.TeacherFailure;
import java.io.IOException;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.net.http.HttpConnectTimeoutException;
import java.nio.channels.UnresolvedAddressException;

/** An endpoint that nothing answers at. */
final class Unreachable {

  private Unreachable() {}

  /** Whether not even a connection came about. */
  static boolean is(IOException failure) {
    return failure instanceof ConnectException
        || failure instanceof UnknownHostException
        || failure instanceof HttpConnectTimeoutException;
  }

  static TeacherFailure at(Endpoint endpoint, IOException failure) {
    return new TeacherFailure(
        TeacherFailure.Kind.UNAVAILABLE,
        "teacher cannot be reached: "
            + endpoint.host()
            + " does not answer ("
            + describe(failure)
            + "), expected an endpoint; start it or correct --teacher");
  }

  /** What happened, as the JDK's client often does not say it. */
  static String describe(IOException failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof UnresolvedAddressException || cause instanceof UnknownHostException) {
        return "unknown host";
      }
      if (cause.getMessage() != null && !cause.getMessage().isBlank()) {
        return cause.getMessage();
      }
    }
    return failure instanceof ConnectException
        ? "connection refused"
        : failure.getClass().getSimpleName();
  }
}
