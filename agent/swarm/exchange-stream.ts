import type { Connection, Stream } from '@libp2p/interface';
import { Semaphore } from '../../proto/std/semaphore.ts';
import {
  EXCHANGE_PROTOCOL,
  FRAME_MAX_BYTES,
  INFLIGHT_REQUESTS_MAX,
} from '../../proto/swarm/constants.ts';
import { encodeFrame, FrameReader } from '../../proto/swarm/frame-codec.ts';
import { encodeRequest, type SwarmRequest } from '../../proto/swarm/request.ts';
import { decodeResponse, type SwarmResponse } from '../../proto/swarm/response.ts';
import { CLIENT_REQUESTS_QUEUED_MAX, WRITE_SLICE_BYTES } from './constants.ts';
import { errorOf, PeerError } from './errors.ts';
import { onSlices } from './frame-stream.ts';
import { bodyPatienceMs } from './patience.ts';
import { StreamWriter } from './stream-writer.ts';

/** A request without its number. */
export type Ask = SwarmRequest extends infer R
  ? R extends unknown
    ? Omit<R, 'id'>
    : never
  : never;

/** What may follow the response: nothing, exactly so many bytes, or at most so many. */
export type BodyExpectation = { exact: number } | { max: number } | undefined;

export type Answer = { response: SwarmResponse; body: Buffer | undefined };

type Pending = {
  readonly expect: BodyExpectation;
  readonly answered: PromiseWithResolvers<Answer>;
  /** The asker went away; what still comes is skipped. */
  abandoned: boolean;
};

type Body = { pending: Pending; response: SwarmResponse; into: Buffer | undefined; left: number };

/**
 * The asking side of one exchange stream: many requests by number, answers in any order, bodies
 * between the answers. A peer that breaks the framing or sends a body of another length than was
 * asked for is reported and loses the stream.
 */
export class ExchangeStream {
  readonly #stream: Stream;
  readonly #peerId: string;
  readonly #onViolation: (err: Error) => void;
  readonly #writer: StreamWriter;
  readonly #reader = new FrameReader({ maxBytes: FRAME_MAX_BYTES });
  readonly #slots = new Semaphore({
    permits: INFLIGHT_REQUESTS_MAX,
    queueMax: CLIENT_REQUESTS_QUEUED_MAX,
  });
  readonly #pending = new Map<number, Pending>();
  #body: Body | undefined;
  #nextId = 1;
  #lastByteMs = performance.now();
  #closed = false;

  constructor(stream: Stream, options: { peerId: string; onViolation: (err: Error) => void }) {
    this.#stream = stream;
    this.#peerId = options.peerId;
    this.#onViolation = options.onViolation;
    this.#writer = new StreamWriter(stream);
    onSlices(stream, { slice: (slice) => this.#onSlice(slice), end: () => this.#onEnd() });
  }

  /** Opens an exchange stream on an admitted connection. */
  static async open(
    connection: Connection,
    options: { signal: AbortSignal; onViolation: (err: Error) => void },
  ): Promise<ExchangeStream> {
    const stream = await connection.newStream(EXCHANGE_PROTOCOL, { signal: options.signal });
    const peerId = connection.remotePeer.toString();
    return new ExchangeStream(stream, { peerId, onViolation: options.onViolation });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Requests sent and not answered yet, and those that wait to be sent. */
  get load(): number {
    return this.#slots.inUse + this.#slots.waiting;
  }

  /**
   * Sends a request and waits for the answer with its body. `stallMs`: longest silence of the
   * stream while this request is open. Throws PeerError CLOSED, TIMEOUT, PROTOCOL, BUSY (too many
   * requests wait already), or the reason of the signal.
   */
  async ask(
    ask: Ask,
    options: { expect?: BodyExpectation; stallMs: number; signal?: AbortSignal | undefined },
  ): Promise<Answer> {
    const { signal } = options;
    signal?.throwIfAborted();
    const slot = await this.#slots.acquire(signal ? { signal } : {});
    if (this.#closed) {
      slot[Symbol.dispose]();
      throw this.#closedError();
    }
    const id = this.#nextId;
    this.#nextId = (id % 0xffff_ffff) + 1;
    const pending: Pending = {
      expect: options.expect,
      answered: Promise.withResolvers<Answer>(),
      abandoned: false,
    };
    this.#pending.set(id, pending);
    // The slot is given back when the peer has answered, not when the asker leaves: the peer
    // counts the request as open until then.
    pending.answered.promise.then(
      () => slot[Symbol.dispose](),
      () => slot[Symbol.dispose](),
    );
    return this.#await(id, pending, encodeFrame(encodeRequest({ ...ask, id })), options);
  }

  /** Ends the stream; open requests are rejected with PeerError CLOSED. */
  close(): void {
    if (!this.#closed) this.#stream.abort(new Error('closed by us'));
    this.#onEnd();
  }

  async #await(
    id: number,
    pending: Pending,
    frame: Buffer,
    options: { stallMs: number; signal?: AbortSignal | undefined },
  ): Promise<Answer> {
    const { signal, stallMs } = options;
    const outcome = Promise.withResolvers<Answer>();
    pending.answered.promise.then(outcome.resolve, outcome.reject);
    const startMs = performance.now();
    const wholeMs = bodyPatienceMs(longestOf(pending.expect));
    let timer: NodeJS.Timeout;
    const onTimer = (): void => {
      const nowMs = performance.now();
      const quietMs = nowMs - Math.max(startMs, this.#lastByteMs);
      if (quietMs < stallMs && nowMs - startMs < wholeMs) {
        timer = setTimeout(onTimer, stallMs - quietMs);
        return;
      }
      const err = new PeerError(`The peer was silent for ${Math.round(quietMs)} ms.`, {
        code: 'TIMEOUT',
        peerId: this.#peerId,
      });
      outcome.reject(err);
      this.#fail(err);
    };
    const onAbort = (): void => outcome.reject(errorOf(signal?.reason));
    timer = setTimeout(onTimer, stallMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const sent = this.#send(frame);
      sent.catch((err: unknown) => outcome.reject(errorOf(err)));
      return await outcome.promise;
    } catch (err) {
      pending.abandoned = true;
      if (this.#body?.pending === pending) this.#body.into = undefined;
      throw err;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (this.#closed) this.#pending.delete(id);
    }
  }

  #send(frame: Buffer): Promise<void> {
    return this.#writer.exclusive(async (send) => {
      for (let at = 0; at < frame.length; at += WRITE_SLICE_BYTES) {
        // oxlint-disable-next-line no-await-in-loop -- slices go out in order
        await send(frame.subarray(at, at + WRITE_SLICE_BYTES));
      }
    });
  }

  #onSlice(slice: Uint8Array): void {
    if (this.#closed) return;
    this.#lastByteMs = performance.now();
    try {
      this.#reader.push(slice);
      while (this.#readNext());
    } catch (cause) {
      const err = new PeerError(
        'The peer broke the exchange protocol.',
        { code: 'PROTOCOL', peerId: this.#peerId },
        { cause },
      );
      this.#fail(err);
      this.#onViolation(err);
    }
  }

  /** One step of the parser; false when more bytes are needed. */
  #readNext(): boolean {
    if (this.#body) return this.#readBody(this.#body);
    const frame = this.#reader.readFrame();
    if (!frame) return false;
    const response = decodeResponse(frame, Number.MAX_SAFE_INTEGER);
    const pending = this.#pending.get(response.id);
    if (!pending) throw new Error(`answer to unknown request ${response.id}`);
    checkBody(response, pending.expect);
    if (response.bodyBytes === 0) {
      this.#finish(response, pending, pending.expect ? Buffer.alloc(0) : undefined);
      return true;
    }
    const into = pending.abandoned ? undefined : Buffer.allocUnsafeSlow(response.bodyBytes);
    this.#body = { pending, response, into, left: response.bodyBytes };
    return true;
  }

  #readBody(body: Body): boolean {
    const raw = this.#reader.readRaw(body.left);
    if (!raw) return false;
    if (body.into) body.into.set(raw, body.response.bodyBytes - body.left);
    body.left -= raw.length;
    if (body.left === 0) {
      this.#body = undefined;
      this.#finish(body.response, body.pending, body.into);
    }
    return true;
  }

  #finish(response: SwarmResponse, pending: Pending, body: Buffer | undefined): void {
    this.#pending.delete(response.id);
    pending.answered.resolve({ response, body });
  }

  #fail(err: Error): void {
    if (this.#closed) return;
    // First the requests, or the close that the abort causes would tell them less.
    this.#end(err);
    this.#stream.abort(err);
  }

  #onEnd(): void {
    this.#end(this.#closedError());
  }

  #end(err: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#body = undefined;
    for (const pending of this.#pending.values()) pending.answered.reject(err);
    this.#pending.clear();
  }

  #closedError(): PeerError {
    return new PeerError('The stream to the peer is closed.', {
      code: 'CLOSED',
      peerId: this.#peerId,
    });
  }
}

/** Bytes of the largest body that fits. */
function longestOf(expect: BodyExpectation): number {
  if (expect === undefined) return 0;
  return 'exact' in expect ? expect.exact : expect.max;
}

/** A claimed length is compared with what was asked for before any memory is taken. */
function checkBody(response: SwarmResponse, expect: BodyExpectation): void {
  const { bodyBytes, status } = response;
  if (status !== 'ok' || expect === undefined) {
    if (bodyBytes !== 0) throw new Error(`a body of ${bodyBytes} bytes where none belongs`);
    return;
  }
  if ('exact' in expect && bodyBytes !== expect.exact) {
    throw new Error(`a body of ${bodyBytes} bytes, ${expect.exact} were asked for`);
  }
  if ('max' in expect && bodyBytes > expect.max) {
    throw new Error(`a body of ${bodyBytes} bytes, at most ${expect.max} are taken`);
  }
}
