package io.sparkmoe.spark.cluster;

import io.netty.channel.Channel;
import io.netty.util.AttributeKey;
import io.sparkmoe.parallel.CorruptFrameException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.spark.network.client.RpcResponseCallback;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.server.OneForOneStreamManager;
import org.apache.spark.network.server.RpcHandler;
import org.apache.spark.network.server.StreamManager;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Receives what comes over the channels of one end: frames go to the {@link Peer} that the channel
 * belongs to, the opening of a connection goes to {@link #greet}. Runs on Spark's event loop
 * threads and never waits. A channel that says something impossible is closed.
 */
abstract class FrameHandler extends RpcHandler {

  private static final Logger LOG = LoggerFactory.getLogger(FrameHandler.class);
  private static final AttributeKey<Peer> PEER = AttributeKey.valueOf("io.sparkmoe.peer");

  private final OneForOneStreamManager noStreams = new OneForOneStreamManager();

  /**
   * Takes a message of the opening of a connection.
   *
   * @param peer the other end where that is settled already, else null
   */
  abstract void greet(TransportClient client, Peer peer, byte type, ByteBuffer message);

  /** A channel whose other end never became a peer has closed. */
  abstract void strangerLeft(TransportClient client);

  /** From now on everything that comes over the channel is from that peer. */
  static void bind(Channel channel, Peer peer) {
    channel.attr(PEER).set(peer);
    if (!channel.isActive()) {
      peer.disconnected();
    }
  }

  @Override
  public final void receive(TransportClient client, ByteBuffer message) {
    Peer peer = client.getChannel().attr(PEER).get();
    try {
      message.order(ByteOrder.LITTLE_ENDIAN);
      byte type = message.get();
      if (peer != null && type >= Message.FRAME) {
        peer.receive(type, message);
      } else {
        greet(client, peer, type, message);
      }
    } catch (CorruptFrameException | BufferUnderflowException e) {
      String reason =
          e instanceof CorruptFrameException ? e.getMessage() : "a message ended too early";
      LOG.warn(
          "Closing the connection of {}: {}",
          peer == null ? client.getSocketAddress() : peer,
          reason);
      if (peer != null) {
        peer.misbehaved(reason);
      }
      client.close();
    }
  }

  @Override
  public final void receive(
      TransportClient client, ByteBuffer message, RpcResponseCallback callback) {
    callback.onFailure(
        new UnsupportedOperationException("ranks answer with messages, not with RPC responses"));
  }

  @Override
  public final StreamManager getStreamManager() {
    return noStreams;
  }

  @Override
  public final void channelInactive(TransportClient client) {
    Peer peer = client.getChannel().attr(PEER).get();
    if (peer != null) {
      peer.disconnected();
    } else {
      strangerLeft(client);
    }
  }

  @Override
  public final void exceptionCaught(Throwable cause, TransportClient client) {
    Peer peer = client.getChannel().attr(PEER).get();
    if (peer != null) {
      peer.misbehaved(String.valueOf(cause.getMessage()));
    }
  }

  /** Tells the other end why it may not join, and hangs up. */
  static void refuse(TransportClient client, String reason) {
    LOG.warn("Refused a connection from {}: {}", client.getSocketAddress(), reason);
    Peer.write(client.getChannel(), Message.refused(reason)).addListener(done -> client.close());
  }
}
