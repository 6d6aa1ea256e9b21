import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { API_BODY_MS, BODY_CHECK_MS, BODY_WINDOW_BYTES_MIN, BODY_WINDOW_MS } from './constants.ts';
import type { HttpMetrics } from './metrics.ts';

type Watched = {
  request: IncomingMessage;
  socket: Socket;
  rule: BodyRule;
  sinceMs: number;
  bytes: number;
};

/** What a body has to bring in each window of this length, unless it ends. */
export type BodyRule = { windowMs: number; bytesMin: number };

/** Bodies of the administration, the token service and the fleet are small: all at once. */
const API_RULE: BodyRule = { windowMs: API_BODY_MS, bytesMin: Number.POSITIVE_INFINITY };
const REGISTRY_RULE: BodyRule = { windowMs: BODY_WINDOW_MS, bytesMin: BODY_WINDOW_BYTES_MIN };

/** The rule for the body of a request. */
export function bodyRuleOf(request: IncomingMessage): BodyRule {
  return request.url?.startsWith('/v2/') === true ? REGISTRY_RULE : API_RULE;
}

/**
 * Cuts the connections of clients that send the body of a request too slowly. While the hub itself
 * does not keep up with reading, nobody is slow.
 */
export class SlowBodies implements Disposable {
  readonly #metrics: Pick<HttpMetrics, 'slowBodies'>;
  readonly #now: () => number;
  /** No more entries than there are connections. */
  readonly #open = new Set<Watched>();
  readonly #timer: NodeJS.Timeout;

  constructor(
    options: { now?: () => number },
    modules: { metrics: Pick<HttpMetrics, 'slowBodies'> },
  ) {
    this.#metrics = modules.metrics;
    this.#now = options.now ?? (() => performance.now());
    this.#timer = setInterval(() => this.sweep(), BODY_CHECK_MS);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** Watches the body of a request, if it has one, until it has come or the connection is gone. */
  watch(request: IncomingMessage, rule: BodyRule = bodyRuleOf(request)): void {
    const { headers, socket } = request;
    const length = Number(headers['content-length'] ?? 0);
    if (length === 0 && headers['transfer-encoding'] === undefined) return;
    const watched = { request, socket, rule, sinceMs: this.#now(), bytes: socket.bytesRead };
    this.#open.add(watched);
    request.once('close', () => this.#open.delete(watched));
  }

  /** Looks at all of them; runs every BODY_CHECK_MS. */
  sweep(): void {
    const nowMs = this.#now();
    for (const watched of this.#open) {
      const { request, socket, rule } = watched;
      if (request.complete || socket.destroyed) this.#open.delete(watched);
      else if (nowMs - watched.sinceMs >= rule.windowMs) {
        const isWaitedFor = request.readableLength < request.readableHighWaterMark;
        const isSlow = socket.bytesRead - watched.bytes < rule.bytesMin;
        if (isWaitedFor && isSlow) this.#cut(watched);
        watched.sinceMs = nowMs;
        watched.bytes = socket.bytesRead;
      }
    }
  }

  #cut(watched: Watched): void {
    this.#open.delete(watched);
    this.#metrics.slowBodies.inc();
    watched.socket.destroy();
  }
}
