import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../proto/ops/logger.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Client } from '../fetch/ports.ts';
import { CLIENT_NAME_MAX_CHARS } from './constants.ts';
import type { Conditions } from './response-plan.ts';
import type { Failure } from './failures.ts';
import type { MirrorMetrics } from './metrics.ts';
import type { MirrorRequest } from './request.ts';

const HIT_CODES = new Set([200, 206, 304]);
/** Counted like a status. */
type Ending = number | 'cut' | 'client_gone';

/** One request on its way: its abort signal, what is logged and what is counted. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly #gone = new AbortController();
  readonly #startedMs = performance.now();
  readonly #logger: Logger;
  readonly #metrics: MirrorMetrics;
  #parsed: MirrorRequest | undefined;
  #status: number | undefined;
  #bytes = 0;
  #stopped = false;

  constructor(
    pair: { request: IncomingMessage; response: ServerResponse },
    modules: { logger: Logger; metrics: MirrorMetrics },
  ) {
    this.request = pair.request;
    this.response = pair.response;
    this.#logger = modules.logger;
    this.#metrics = modules.metrics;
    this.response.once('close', () => {
      if (!this.response.writableFinished) this.#gone.abort(new Error('the client is gone'));
    });
    this.#metrics.inFlight.inc();
    this.#metrics.lastRequest.setToCurrentTime();
  }

  /** Aborted when the client closed the connection before the answer was complete. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  get kind(): 'base' | 'manifest' | 'blob' | 'other' {
    return this.#parsed?.kind ?? 'other';
  }

  get digest(): Digest | undefined {
    return this.#parsed?.kind === 'blob' ? this.#parsed.digest : undefined;
  }

  get conditions(): Conditions {
    const { headers } = this.request;
    return {
      method: this.request.method ?? '',
      range: headers.range,
      ifRange: single(headers['if-range']),
      ifNoneMatch: headers['if-none-match'],
    };
  }

  /** Who asks, for the log: of what it calls itself only a part that is harmless there. */
  get client(): Client {
    const { headers, socket } = this.request;
    const userAgent = headers['user-agent']?.replace(/[^\x20-\x7e]/g, '');
    return { address: socket.remoteAddress, userAgent: userAgent?.slice(0, CLIENT_NAME_MAX_CHARS) };
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** True: we ended it ourselves, in mid-answer, because the process stops. */
  get stopped(): boolean {
    return this.#stopped;
  }

  stop(): void {
    this.#stopped = true;
    this.response.destroy();
  }

  understood(parsed: MirrorRequest): void {
    this.#parsed = parsed;
  }

  sent(bytes: number): void {
    this.#bytes += bytes;
    this.#metrics.sentBytes.inc({ kind: this.kind }, bytes);
  }

  /** Status line and headers; a later failure can only cut the connection. */
  head(status: number, headers: Record<string, string | number>): void {
    this.#status = status;
    this.response.writeHead(status, headers);
    this.#metrics.headersSeconds.observe({ kind: this.kind }, this.elapsedMs / 1_000);
    if (this.kind !== 'base' && HIT_CODES.has(status)) this.#metrics.lastHit.setToCurrentTime();
  }

  /** The answer went out whole. */
  finished(): void {
    this.#end(this.#status ?? 0);
    this.#logger.debug(this.#fields(), 'answered');
  }

  /** Nothing was sent yet: answers the failure. */
  refuse(failure: Failure, err: unknown): void {
    const body = Buffer.from(failure.body);
    this.head(failure.status, { ...failure.headers, 'content-length': body.length });
    this.response.end(this.request.method === 'HEAD' ? undefined : body);
    this.#end(failure.status);
    const fields = { ...this.#fields(), err, remedy: failure.remedy };
    this.#logger[failure.level](fields, 'request refused');
  }

  /** The body cannot be completed. A cut is seen by the runtime; a short end would not be. */
  cut(err: unknown): void {
    this.response.destroy();
    this.#end('cut');
    const remedy = 'the client resumes at its next host; look at the sources of this blob';
    this.#logger.warn({ ...this.#fields(), err, remedy }, 'answer cut');
  }

  clientGone(): void {
    this.response.destroy();
    this.#end('client_gone');
    this.#logger.debug(this.#fields(), 'client closed the connection');
  }

  #end(code: Ending): void {
    this.#metrics.inFlight.dec();
    this.#metrics.requests.inc({ kind: this.kind, code: String(code) });
  }

  /** Host of the upstream that is asked for, here or behind the hub; undefined: none is known. */
  get upstream(): string | undefined {
    const parsed = this.#parsed;
    if (parsed === undefined || parsed.kind === 'base') return undefined;
    const { kind, namespace, behind } = parsed.target;
    return kind === 'upstream' ? namespace : behind;
  }

  /** Only values that were parsed; nothing a client wrote freely. */
  #fields(): Record<string, unknown> {
    const parsed = this.#parsed;
    const what =
      parsed === undefined || parsed.kind === 'base'
        ? {}
        : {
            namespace: parsed.target.namespace,
            repository: parsed.repository,
            ...(parsed.kind === 'blob'
              ? { digest: parsed.digest }
              : { reference: parsed.reference }),
          };
    return {
      kind: this.kind,
      ...what,
      status: this.#status,
      bytes: this.#bytes,
      ms: Math.round(this.elapsedMs),
    };
  }
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
