import { noise } from '@chainsafe/libp2p-noise';
import type { ConnectionGater, Libp2p, PrivateKey } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { isIPv6 } from 'node:net';
import type { ListenAddress } from '../../proto/ops/listen.ts';
import {
  ADDRESS_DIAL_TIMEOUT_MS,
  CLOSE_TIMEOUT_MS,
  INBOUND_PENDING_MAX,
  INBOUND_RATE_PER_HOST,
  INBOUND_UPGRADE_TIMEOUT_MS,
  LINK_TIMEOUT_MS,
  PROTOCOL_NEGOTIATION_TIMEOUT_MS,
  STREAMS_PER_CONNECTION_MAX,
  STREAM_READ_BUFFER_MAX_BYTES,
  STREAM_WINDOW_MAX_BYTES,
} from './constants.ts';
import type { MuxerGuard } from './muxer-guard.ts';
import { silentLogger } from './silent-logger.ts';

/**
 * A libp2p host with TCP, Noise and yamux and with no service at all: identify, ping and the DHT
 * would speak to peers before their hello. Not started yet.
 */
export function createLibp2pNode(
  options: {
    privateKey: PrivateKey;
    listen: readonly ListenAddress[];
    connectionsMax: number;
    build: string;
  },
  modules: { gater: ConnectionGater; guard: MuxerGuard },
): Promise<Libp2p> {
  const muxer = yamux({
    maxInboundStreams: STREAMS_PER_CONNECTION_MAX,
    maxOutboundStreams: STREAMS_PER_CONNECTION_MAX,
    maxEarlyStreams: STREAMS_PER_CONNECTION_MAX,
    streamOptions: {
      maxStreamWindowSize: STREAM_WINDOW_MAX_BYTES,
      maxReadBufferLength: STREAM_READ_BUFFER_MAX_BYTES,
    },
  });
  return createLibp2p({
    start: false,
    privateKey: options.privateKey,
    nodeInfo: { name: 'flotilla', version: options.build, userAgent: 'flotilla' },
    logger: silentLogger,
    addresses: { listen: options.listen.map(listenMultiaddr) },
    transports: [tcp({ maxConnections: options.connectionsMax + INBOUND_PENDING_MAX })],
    connectionEncrypters: [noise()],
    streamMuxers: [() => modules.guard.wrap(muxer())],
    connectionGater: modules.gater,
    connectionMonitor: { enabled: false },
    connectionManager: {
      maxConnections: options.connectionsMax,
      maxIncomingPendingConnections: INBOUND_PENDING_MAX,
      inboundConnectionThreshold: INBOUND_RATE_PER_HOST,
      inboundUpgradeTimeout: INBOUND_UPGRADE_TIMEOUT_MS,
      inboundStreamProtocolNegotiationTimeout: PROTOCOL_NEGOTIATION_TIMEOUT_MS,
      outboundStreamProtocolNegotiationTimeout: PROTOCOL_NEGOTIATION_TIMEOUT_MS,
      connectionCloseTimeout: CLOSE_TIMEOUT_MS,
      dialTimeout: LINK_TIMEOUT_MS,
      addressDialTimeout: ADDRESS_DIAL_TIMEOUT_MS,
      // Links are made when a download wants them, not when a connection happens to end.
      reconnectRetries: 0,
    },
  });
}

function listenMultiaddr(address: ListenAddress): string {
  return `/${isIPv6(address.host) ? 'ip6' : 'ip4'}/${address.host}/tcp/${address.port}`;
}

/** The TCP port the host listens on; one for all its addresses. */
export function portOf(node: Libp2p): number | undefined {
  for (const address of node.getMultiaddrs()) {
    const port = address.getComponents().find((part) => part.name === 'tcp')?.value;
    if (port !== undefined) return Number(port);
  }
  return undefined;
}
