import type { IncomingMessage, ServerResponse } from 'node:http';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { digestAlgorithm, digestOf } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { BodyReader, ClientGone, clientGone, sendBody, writeFlushed } from './body.ts';
import type { Blobs } from './blobs.ts';
import {
  BUFFERED_BYTES_MAX,
  BUFFERED_WAITERS_MAX,
  HEADERS_MARGIN_MS,
  MANIFESTS_MAX,
} from './constants.ts';
import { MirrorError, unavailable } from './errors.ts';
import { Exchange } from './exchange.ts';
import { failureOf } from './failures.ts';
import { ConnectionSink } from './file-sink.ts';
import type { Manifests } from './manifests.ts';
import type { MirrorMetrics } from './metrics.ts';
import type { NamespaceRules } from './namespace.ts';
import { parseMirrorRequest } from './request.ts';
import type { MirrorRequest } from './request.ts';
import { planResponse } from './response-plan.ts';
import type { ContentFacts } from './response-plan.ts';
import type { SendFile } from './sendfile.ts';
import type { StallBook } from './stalls.ts';

export type HandlerOptions = {
  rules: NamespaceRules;
  requestsMax: number;
  headersTimeoutMs: number;
  bodyStallTimeoutMs: number;
  clientStallTimeoutMs: number;
};

export type HandlerModules = {
  manifests: Manifests;
  blobs: Blobs;
  stalls: StallBook;
  /** Absent: bytes of files come through memory. */
  sendFile?: SendFile | undefined;
  metrics: MirrorMetrics;
  logger: Logger;
};

/** `isHere`: the first bytes can go out together with the headers. */
type Body =
  | { kind: 'bytes'; bytes: Buffer }
  | { kind: 'stream'; reader: BodyReader; sink: ConnectionSink | undefined; isHere: boolean };

/** What is ready to be sent; disposing gives back memory and cursor. */
type Prepared = Disposable & {
  facts: ContentFacts;
  /** Absent: only the facts were asked for. */
  body: Body | undefined;
};

/** Answers requests of runtimes within the limits of the mirror. */
export class MirrorHandler {
  readonly #options: HandlerOptions;
  readonly #modules: HandlerModules;
  readonly #buffered = new Semaphore({
    permits: BUFFERED_BYTES_MAX,
    queueMax: BUFFERED_WAITERS_MAX,
  });
  readonly #manifestTurns: Semaphore;
  readonly #running = new Set<Exchange>();
  #draining: PromiseWithResolvers<void> | undefined;

  constructor(options: HandlerOptions, modules: HandlerModules) {
    this.#options = options;
    this.#modules = modules;
    this.#manifestTurns = new Semaphore({ permits: MANIFESTS_MAX, queueMax: options.requestsMax });
  }

  get running(): number {
    return this.#running.size;
  }

  /** Answers one request; never rejects. `target` is the request target as it was sent. */
  async handle(request: IncomingMessage, response: ServerResponse, target: string): Promise<void> {
    const exchange = new Exchange({ request, response }, this.#modules);
    // A socket that breaks is seen through 'close'.
    response.on('error', () => {});
    if (this.#draining !== undefined || this.#running.size >= this.#options.requestsMax) {
      const reason = this.#draining === undefined ? 'overloaded' : 'draining';
      const err = unavailable(reason, `the mirror is ${reason}`);
      response.setHeader('connection', 'close');
      exchange.refuse(failureOf(err), err);
      return;
    }
    this.#running.add(exchange);
    try {
      await this.#answer(exchange, target);
    } catch (err) {
      this.#fail(exchange, err);
    } finally {
      this.#ended(exchange);
    }
  }

  /** Refuses new requests; resolves when the running ones have ended, cut when `limit` aborts. */
  async drain(limit: AbortSignal): Promise<void> {
    this.#draining ??= Promise.withResolvers<void>();
    if (this.#running.size === 0) this.#draining.resolve();
    const cut = (): void => {
      for (const exchange of this.#running) exchange.stop();
    };
    if (limit.aborted) cut();
    limit.addEventListener('abort', cut, { once: true });
    await this.#draining.promise;
    limit.removeEventListener('abort', cut);
  }

  #ended(exchange: Exchange): void {
    this.#running.delete(exchange);
    if (this.#running.size === 0) this.#draining?.resolve();
  }

  async #answer(exchange: Exchange, target: string): Promise<void> {
    const method = exchange.request.method ?? '';
    const parsed = parseMirrorRequest(method, target, this.#options.rules);
    exchange.understood(parsed);
    if (parsed.kind === 'base') {
      await this.#answerBase(exchange);
      return;
    }
    using prepared = await this.#prepareInTime(exchange, parsed);
    const plan = planResponse(prepared.facts, exchange.conditions);
    const { body, facts } = prepared;
    if (plan.body === undefined || body === undefined || plan.body.start === plan.body.end) {
      exchange.head(plan.status, plan.headers);
      await finish(exchange);
      return;
    }
    exchange.head(plan.status, plan.headers);
    if (body.kind === 'stream' && !body.isHere) exchange.response.flushHeaders();
    if (body.kind === 'bytes') {
      const bytes = body.bytes.subarray(plan.body.start, plan.body.end);
      await writeFlushed(exchange.response, bytes, this.#options.clientStallTimeoutMs);
      exchange.sent(bytes.length);
    } else {
      await sendBody(exchange.response, body.reader, {
        expected: plan.body.end - plan.body.start,
        stallMs: this.#options.bodyStallTimeoutMs,
        clientStallMs: this.#options.clientStallTimeoutMs,
        progress: () => this.#modules.stalls.progress(facts.digest),
        sent: (bytes) => exchange.sent(bytes),
        gone: exchange.gone,
        sink: body.sink,
      });
    }
    await finish(exchange);
    this.#modules.logger.trace({ digest: facts.digest }, 'body sent');
  }

  async #answerBase(exchange: Exchange): Promise<void> {
    const body = Buffer.from('{}');
    exchange.head(200, {
      'docker-distribution-api-version': 'registry/2.0',
      'content-type': 'application/json; charset=utf-8',
      'content-length': body.length,
    });
    if (exchange.request.method === 'GET') exchange.response.write(body);
    await finish(exchange);
  }

  /** Everything up to the headers, under one deadline that holds even for a deaf module. */
  async #prepareInTime(
    exchange: Exchange,
    parsed: Exclude<MirrorRequest, { kind: 'base' }>,
  ): Promise<Prepared> {
    using limit = deadline(this.#options.headersTimeoutMs, exchange.gone);
    const work =
      parsed.kind === 'manifest'
        ? this.#prepareManifest(exchange, parsed, limit.signal)
        : this.#prepareBlob(exchange, parsed, limit.signal);
    try {
      return await abortable(work, limit.signal);
    } catch (err) {
      // It may still come to something later, which nobody waits for then.
      work.then(
        (late) => late[Symbol.dispose](),
        () => {},
      );
      if (exchange.gone.aborted) throw clientGone();
      if (!limit.signal.aborted) throw err;
      throw unavailable('timeout', 'no source answered in time', { cause: err });
    }
  }

  async #prepareManifest(
    exchange: Exchange,
    parsed: Extract<MirrorRequest, { kind: 'manifest' }>,
    signal: AbortSignal,
  ): Promise<Prepared> {
    const turn = await this.#manifestTurns.acquire({ signal });
    try {
      const { authorization } = exchange.request.headers;
      const ask = { ...parsed, method: exchange.conditions.method, authorization };
      const { facts, bytes } = await this.#modules.manifests.resolve(ask, { signal });
      const body = bytes === undefined ? undefined : { kind: 'bytes' as const, bytes };
      return { facts, body, [Symbol.dispose]: () => turn[Symbol.dispose]() };
    } catch (err) {
      turn[Symbol.dispose]();
      throw err;
    }
  }

  async #prepareBlob(
    exchange: Exchange,
    parsed: Extract<MirrorRequest, { kind: 'blob' }>,
    signal: AbortSignal,
  ): Promise<Prepared> {
    const { authorization } = exchange.request.headers;
    const { client } = exchange;
    const ask = { ...parsed, method: exchange.conditions.method, authorization, client };
    const { facts, handle } = await this.#modules.blobs.open(ask, { signal });
    if (handle === undefined) return { facts, body: undefined, [Symbol.dispose]: () => {} };
    const wanted = planResponse(facts, exchange.conditions).body;
    if (wanted === undefined || wanted.start === wanted.end) {
      handle[Symbol.dispose]();
      return { facts, body: undefined, [Symbol.dispose]: () => {} };
    }
    // Small blobs have no chunks: the whole is read and its digest checked before the first byte.
    const isSmall = facts.size <= UNCHUNKED_MAX_BYTES;
    using undo = new DisposableStack();
    const sink = isSmall ? undefined : undo.use(this.#sinkOf(exchange));
    const reader = new BodyReader(handle, isSmall ? { start: 0, end: facts.size } : wanted, sink);
    undo.defer(() => reader.stop());
    let body: Body;
    if (isSmall) {
      undo.use(await this.#buffered.acquire({ permits: facts.size, signal }));
      body = { kind: 'bytes', bytes: await this.#collect(reader, facts) };
    } else {
      const spareMs = this.#options.headersTimeoutMs - exchange.elapsedMs - HEADERS_MARGIN_MS;
      const isHere = await reader.arrives(Math.max(0, spareMs));
      body = { kind: 'stream', reader, sink, isHere };
    }
    const kept = undo.move();
    return { facts, body, [Symbol.dispose]: () => kept.dispose() };
  }

  #sinkOf({ response }: Exchange): ConnectionSink | undefined {
    const { metrics, sendFile } = this.#modules;
    return ConnectionSink.of(response, sendFile, (bytes) => metrics.sendfileBytes.inc(bytes));
  }

  async #collect(reader: BodyReader, facts: ContentFacts): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(facts.size);
    let length = 0;
    for (;;) {
      const buffer = await reader.next({
        stallMs: this.#options.headersTimeoutMs,
        progress: () => 0,
      });
      if (buffer === undefined) break;
      if (length + buffer.length > bytes.length) break;
      length += buffer.copy(bytes, length);
    }
    const { digest } = facts;
    const isWhole = length === facts.size && digest !== undefined;
    if (!isWhole || digestOf(bytes, digestAlgorithm(digest)) !== digest) {
      throw unavailable('content', 'the bytes that came do not match their digest');
    }
    return bytes;
  }

  #fail(exchange: Exchange, err: unknown): void {
    const { response } = exchange;
    if (hasCode(err, 'STALLED')) this.#noteStall(exchange, err);
    const isGone = exchange.gone.aborted || err instanceof ClientGone;
    if (isGone && !exchange.stopped) exchange.clientGone();
    else if (response.headersSent || exchange.stopped) exchange.cut(err);
    else exchange.refuse(failureOf(err, exchange.upstream), err);
  }

  #noteStall(exchange: Exchange, err: unknown): void {
    const isClient =
      err instanceof MirrorError && err.data.code === 'STALLED' && err.data.side === 'client';
    this.#modules.metrics.stalls.inc({ side: isClient ? 'client' : 'source' });
    if (!isClient && exchange.digest !== undefined) this.#modules.stalls.mark(exchange.digest);
  }
}

/** Ends the response and waits until the system has it all. */
function finish(exchange: Exchange): Promise<void> {
  const { response } = exchange;
  return new Promise((resolve, reject) => {
    if (response.destroyed || response.closed) {
      reject(clientGone());
      return;
    }
    const onClose = (): void => {
      if (!response.writableFinished) reject(clientGone());
    };
    response.once('close', onClose);
    response.end(() => {
      response.off('close', onClose);
      exchange.finished();
      resolve();
    });
  });
}
