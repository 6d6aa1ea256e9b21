import { readFile } from 'node:fs/promises';
import { watchFile, unwatchFile } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { bindServer, formatListen } from '../../proto/ops/listen.ts';
import type { Logger } from '../../proto/ops/logger.ts';

/** A client that sends nothing for this long inside a request or body is cut. */
const SOCKET_IDLE_MS = 120_000;
/** Longer than the idle pools of Go clients, so that they close first. */
const KEEP_ALIVE_MS = 100_000;
const HEADERS_TIMEOUT_MS = 30_000;
const CONNECTIONS_MAX = 10_000;
const CERTIFICATE_POLL_MS = 5_000;

export type HubServers = {
  urls: readonly string[];
  /** Takes no new connections; idle ones end. */
  stopListening(): void;
  close(): Promise<void>;
};

/**
 * Serves `listener` on every address, over TLS when there is a certificate. A changed certificate
 * file is read without a restart.
 * @throws OpsError LISTEN_INVALID, LISTEN_FAILED; errors of node:fs for certificate files
 */
export async function startServers(
  options: { listen: readonly string[]; certFile?: string; keyFile?: string },
  modules: { listener: RequestListener; logger: Logger },
): Promise<HubServers> {
  const { certFile, keyFile } = options;
  const read = async () =>
    certFile === undefined || keyFile === undefined
      ? undefined
      : { cert: await readFile(certFile), key: await readFile(keyFile) };
  const pair = await read();
  const servers: Server[] = [];
  const urls: string[] = [];
  const scheme = pair === undefined ? 'http' : 'https';
  for (const listen of options.listen) {
    const tls = pair && createTlsServer(pair, modules.listener);
    const server = tls ?? createServer(modules.listener);
    server.requestTimeout = 0;
    server.headersTimeout = HEADERS_TIMEOUT_MS;
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    server.maxConnections = CONNECTIONS_MAX;
    server.setTimeout(SOCKET_IDLE_MS, (socket) => socket.destroy());
    const address = await bindServer(server, listen);
    servers.push(server);
    urls.push(`${scheme}://${formatListen(address)}`);
    if (tls === undefined || certFile === undefined) continue;
    watchFile(certFile, { interval: CERTIFICATE_POLL_MS, persistent: false }, () => {
      read().then(
        (renewed) => renewed && tls.setSecureContext(renewed),
        (err: unknown) =>
          modules.logger.warn({ err }, 'new certificate not readable, old one kept'),
      );
    });
  }
  return {
    urls,
    stopListening: () => {
      for (const server of servers) {
        server.close();
        server.closeIdleConnections();
      }
    },
    close: async () => {
      if (certFile !== undefined) unwatchFile(certFile);
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}
