import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { bindServer, formatListen } from '../../proto/ops/listen.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import {
  readCertificate,
  watchCertificate,
  type CertificateFiles,
  type CertificatePair,
} from './certificate.ts';
import {
  CERTIFICATE_POLL_MS,
  CONNECTIONS_MAX,
  HANDSHAKE_TIMEOUT_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  SOCKET_IDLE_MS,
} from './constants.ts';

import type { ConnectionShares } from './connection-shares.ts';
import type { SlowBodies } from './slow-bodies.ts';

export type HubServers = {
  urls: readonly string[];
  /** Takes no new connections; idle ones end. */
  stopListening(): void;
  close(): Promise<void>;
};

/**
 * Serves `listener` on every address, over TLS when there are certificate files. Changed files are
 * read without a restart; connections that exist are not disturbed. The `url` of a request begins
 * with its path.
 * @throws OpsError LISTEN_INVALID, LISTEN_FAILED; errors of node:fs and node:tls for the files
 */
export async function startServers(
  options: {
    listen: readonly string[];
    certificate?: CertificateFiles | undefined;
    certificatePollMs?: number;
  },
  modules: {
    listener: RequestListener;
    shares?: Pick<ConnectionShares, 'admit'>;
    bodies?: Pick<SlowBodies, 'watch'>;
    logger: Logger;
  },
): Promise<HubServers> {
  const { certificate, certificatePollMs: pollMs = CERTIFICATE_POLL_MS } = options;
  const { shares, bodies, logger } = modules;
  const listener: RequestListener = (request, response) => {
    // A request may name the whole URL (RFC 9112 section 3.2.2).
    request.url = request.url?.replace(/^https?:\/\/[^/?]*/i, '') ?? '';
    bodies?.watch(request);
    modules.listener(request, response);
  };
  await using starting = new AsyncDisposableStack();
  const pair = certificate && (await readCertificate(certificate));
  const tlsServers = pair ? options.listen.map(() => secure(pair, listener)) : undefined;
  const servers: Server[] = tlsServers ?? options.listen.map(() => createServer(listener));
  const scheme = tlsServers ? 'https' : 'http';
  const urls: string[] = [];
  starting.defer(() => closeAll(servers));
  for (const [i, server] of servers.entries()) {
    limit(server);
    if (shares !== undefined) server.on('connection', (socket) => shares.admit(socket));
    // oxlint-disable-next-line no-await-in-loop -- in the order of the configuration
    urls.push(`${scheme}://${formatListen(await bindServer(server, options.listen[i] ?? ''))}`);
  }
  if (certificate && tlsServers) {
    const renewed = (renewal: CertificatePair): void => {
      for (const server of tlsServers) server.setSecureContext(renewal);
    };
    starting.use(watchCertificate({ ...certificate, pollMs }, { renewed, logger }));
  }
  const running = starting.move();
  return {
    urls,
    stopListening: () => {
      for (const server of servers) {
        server.close();
        server.closeIdleConnections();
      }
    },
    close: () => running.disposeAsync(),
  };
}

function secure(pair: CertificatePair, listener: RequestListener) {
  return createTlsServer({ ...pair, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, listener);
}

function limit(server: Server): void {
  server.requestTimeout = 0;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxConnections = CONNECTIONS_MAX;
  server.setTimeout(SOCKET_IDLE_MS, (socket) => socket.destroy());
}

async function closeAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(
    servers.map((server) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      return promise;
    }),
  );
}
