import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { fastify } from 'fastify';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../proto/ops/logger.ts';
import { bindServer, formatListen, isAddressUnavailable } from '../../proto/ops/listen.ts';
import {
  CONNECTIONS_CHECK_MS,
  CONNECTIONS_MAX,
  KEEP_ALIVE_TIMEOUT_MS,
  REQUEST_HEADERS_MAX_BYTES,
  REQUEST_HEADERS_TIMEOUT_MS,
  REQUEST_HEADER_LINES_MAX,
} from './constants.ts';
import type { MirrorHandler } from './handler.ts';

export type MirrorServer = {
  /** `http://host:port` of each listener. */
  urls: readonly string[];
  /** For tests without sockets. */
  app: FastifyInstance;
  /** Ends everything, running answers included. */
  close(): Promise<void>;
};

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

/**
 * Listens on each address of `listen`; one that this machine lacks is skipped as long as another
 * one works. All share one fastify instance with a single route.
 * @throws OpsError LISTEN_INVALID, LISTEN_FAILED
 */
export async function startMirrorServer(
  options: { listen: readonly string[] },
  modules: { handler: MirrorHandler; logger: Logger },
): Promise<MirrorServer> {
  const app = buildApp(modules.handler);
  await app.ready();
  const servers: Server[] = [];
  const urls: string[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer));
    await app.close();
  };
  for (const [index, listen] of options.listen.entries()) {
    const server = createMirrorServer(app);
    try {
      urls.push(`http://${formatListen(await bindServer(server, listen))}`);
      servers.push(server);
    } catch (err) {
      const isLast = urls.length === 0 && index === options.listen.length - 1;
      if (isLast || !isAddressUnavailable(err instanceof Error ? err.cause : undefined)) {
        await close();
        throw err;
      }
      modules.logger.warn({ listen, err }, 'mirror address is not available here, skipped');
    }
  }
  return { urls, app, close };
}

/**
 * The router never sees the request target, since it decodes what must stay raw: every request
 * becomes `/`, and the handler reads the target as it was sent.
 */
function buildApp(handler: MirrorHandler): FastifyInstance {
  const app = fastify({ logger: false, rewriteUrl: () => '/', exposeHeadRoutes: false });
  app.addHook('onRequest', async (request, reply) => {
    reply.hijack();
    await handler.handle(request.raw, reply.raw, request.originalUrl);
  });
  app.all('/', () => {});
  app.setNotFoundHandler(() => {});
  return app;
}

/** Node's own answers to broken input (408, 417, 431) are not for runtimes. */
function createMirrorServer(app: FastifyInstance): Server {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    app.routing(request, response);
  };
  const server = createServer(
    {
      maxHeaderSize: REQUEST_HEADERS_MAX_BYTES,
      connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
      headersTimeout: REQUEST_HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_HEADERS_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      noDelay: true,
    },
    answer,
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.maxHeadersCount = REQUEST_HEADER_LINES_MAX;
  server.on('checkExpectation', answer);
  server.on('checkContinue', answer);
  server.on('clientError', (err: NodeJS.ErrnoException, socket: Socket) => {
    const isTimeout = err.code === 'ERR_HTTP_REQUEST_TIMEOUT' || err.code === 'ECONNRESET';
    if (isTimeout || !socket.writable || socket.bytesWritten > 0) socket.destroy();
    else socket.end(BAD_REQUEST, () => socket.destroy());
  });
  return server;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
