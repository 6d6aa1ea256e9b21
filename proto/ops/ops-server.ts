import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { deadline, abortable } from '../std/abort.ts';
import { messageOf } from '../std/errors.ts';
import {
  OPS_CHECK_TIMEOUT_MS,
  OPS_CONNECTIONS_MAX,
  OPS_HEADERS_TIMEOUT_MS,
  OPS_KEEP_ALIVE_MS,
} from './constants.ts';
import { bindServer, formatListen, isAddressUnavailable } from './listen.ts';
import type { Logger } from './logger.ts';
import type { MetricsRegistry } from './metrics.ts';

/** Outcome of a health question; `reasons` say why not, and may say what is degraded when ok. */
export type Check = { ok: boolean; reasons: readonly string[] };

export type OpsServerOptions = {
  /** Texts as `parseListen` reads; an address this machine lacks is skipped with a warning. */
  listen: readonly string[];
  registry: MetricsRegistry;
  /** Is the process worth keeping? False makes an orchestrator restart it. */
  live: () => Check | Promise<Check>;
  /** Should it get new work? False takes it out of the load balancing, nothing more. */
  ready: () => Check | Promise<Check>;
  logger: Logger;
};

export type OpsServer = { urls: readonly string[]; close(): Promise<void> };

/**
 * Serves GET and HEAD of `/metrics` (Prometheus text), `/healthz` and `/readyz` (200 or 503 with
 * `{status, reasons}`).
 * @throws OpsError LISTEN_INVALID, LISTEN_FAILED when no address could be bound
 */
export async function startOpsServer(options: OpsServerOptions): Promise<OpsServer> {
  const servers: Server[] = [];
  const urls: string[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer));
  };
  for (const listen of options.listen) {
    const server = createServer((request, response) => void answer(request, response, options));
    server.maxConnections = OPS_CONNECTIONS_MAX;
    server.headersTimeout = OPS_HEADERS_TIMEOUT_MS;
    server.requestTimeout = OPS_HEADERS_TIMEOUT_MS;
    server.keepAliveTimeout = OPS_KEEP_ALIVE_MS;
    try {
      const bound = await bindServer(server, listen);
      servers.push(server);
      urls.push(`http://${formatListen(bound)}`);
    } catch (err) {
      const last = urls.length === 0 && listen === options.listen.at(-1);
      if (last || !isAddressUnavailable(err)) {
        await close();
        throw err;
      }
      options.logger.warn({ listen, err }, 'ops address is not available here, skipped');
    }
  }
  return { urls, close };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: OpsServerOptions,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    respond(response, 405, 'text/plain; charset=utf-8', 'only GET and HEAD\n');
    return;
  }
  const path = (request.url ?? '/').split('?', 1)[0];
  try {
    using limit = deadline(OPS_CHECK_TIMEOUT_MS);
    if (path === '/metrics') {
      const text = await abortable(options.registry.text(), limit.signal);
      respond(response, 200, options.registry.contentType, text);
    } else if (path === '/healthz') {
      respondCheck(response, await abortable(ask(options.live), limit.signal));
    } else if (path === '/readyz') {
      respondCheck(response, await abortable(ask(options.ready), limit.signal));
    } else {
      respond(response, 404, 'text/plain; charset=utf-8', 'try /metrics, /healthz, /readyz\n');
    }
  } catch (err) {
    options.logger.warn({ path, err }, 'ops request failed');
    respondCheck(response, { ok: false, reasons: [messageOf(err)] });
  }
}

async function ask(check: () => Check | Promise<Check>): Promise<Check> {
  return check();
}

function respondCheck(response: ServerResponse, check: Check): void {
  const status = check.ok ? 'ok' : 'unavailable';
  const body = `${JSON.stringify({ status, reasons: check.reasons })}\n`;
  respond(response, check.ok ? 200 : 503, 'application/json', body);
}

function respond(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
