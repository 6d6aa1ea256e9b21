import type { TLSSocket } from 'node:tls';
import { encodeFrame } from '../../../proto/swarm/frame-codec.ts';
import { LANE_HEAD_BYTES, readLaneHead, type LaneHead } from '../../../proto/swarm/lane.ts';
import { encodeRequest, type SwarmRequest } from '../../../proto/swarm/request.ts';
import type { ChunkBytes, ChunkRequest, PeerAvailability } from '../../fetch/ports.ts';
import type { ChunkBuffers, LentBuffer } from '../chunk-buffers.ts';
import { PeerError, statusError } from '../errors.ts';
import { LANE_NEWS_TURN_MS, LANE_SCRATCH_BYTES } from './constants.ts';
import { LaneQuestions } from './lane-questions.ts';

export type HaveRequest = Omit<Extract<SwarmRequest, { kind: 'have' }>, 'id' | 'kind'>;

type Pending = {
  readonly id: number;
  readonly length: number;
  readonly answered: PromiseWithResolvers<ChunkBytes>;
  /** The asker went away; what still comes is read and thrown away. */
  abandoned: boolean;
};

type LaneLimits = {
  /** Longest silence while an answer is due. */
  stallMs: number;
  /** Silence after which the peer is asked elsewhere. */
  doubtMs: number;
  /** Longest time for a body of so many bytes. */
  bodyMs: (bytes: number) => number;
};

export type LaneSocketModules = {
  buffers: ChunkBuffers;
  onViolation: (err: Error) => void;
  /** Whether the peer answers elsewhere. Never rejects. */
  answers: () => Promise<boolean>;
};

/** Without a chunk the bytes are read into the scratch buffer, for nobody. */
type Body = { pending: Pending; chunk: LentBuffer | undefined; filled: number };

/**
 * The asking side of one lane: requests go out at once, chunks come back in the same order, answers
 * to questions between them. Bytes of a body are put by the TLS layer straight into the chunk's
 * buffer. It calls `nextBuffer` for a read that has not begun, so a read never reaches beyond the
 * body it was meant for. It keeps that buffer until the next read, so what it may still hold when
 * the lane ends is lent to nobody again.
 */
export class LaneSocket {
  readonly #peerId: string;
  readonly #limits: LaneLimits;
  readonly #modules: LaneSocketModules;
  readonly #scratch = Buffer.allocUnsafeSlow(LANE_SCRATCH_BYTES);
  readonly #pending: Pending[] = [];
  readonly #questions: LaneQuestions;
  /** Bytes of the scratch buffer that hold the beginning of a head. */
  #headBytes = 0;
  #body: Body | undefined;
  #socket: TLSSocket | undefined;
  #nextId = 1;
  #answered = false;
  #served = false;
  #failed = false;
  #timer: NodeJS.Timeout | undefined;
  #lastByteMs = 0;
  /** Since when the oldest request is the next to be answered. */
  #turnMs = 0;
  /** How long the last body took from there. */
  #turnTookMs = Number.POSITIVE_INFINITY;
  /** The last byte before the silence in which the peer was asked elsewhere. */
  #doubtedMs = -1;
  #closed: Error | undefined;

  constructor(options: LaneLimits & { peerId: string }, modules: LaneSocketModules) {
    this.#peerId = options.peerId;
    this.#limits = options;
    this.#questions = new LaneQuestions(options);
    this.#modules = modules;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Whether the peer ever answered a request for a chunk here. */
  get served(): boolean {
    return this.#served;
  }

  /** Whether it has ended without ever doing what it was asked for. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Whether an answer to a question would come without a chunk before it. */
  get isFree(): boolean {
    return this.#closed === undefined && this.#pending.length === 0 && this.#questions.hasRoom;
  }

  /** Whether it would come soon, behind the chunk that is on its way, as far as one can tell. */
  get isQuick(): boolean {
    if (this.#closed !== undefined || !this.#questions.hasRoom) return false;
    const turnMs = this.#pending.length === 0 ? 0 : performance.now() - this.#turnMs;
    return Math.max(this.#turnTookMs, turnMs) <= LANE_NEWS_TURN_MS;
  }

  /** Chunk requests sent and not answered yet. */
  get load(): number {
    return this.#pending.length;
  }

  /** What `tls.connect` takes as `onread`. */
  get onread(): { buffer: () => Buffer; callback: (bytes: number, into: Uint8Array) => boolean } {
    return {
      buffer: () => this.#nextBuffer(),
      callback: (bytes) => {
        this.#onRead(bytes);
        return true;
      },
    };
  }

  /** The handshake is over and the peer is who it should be. */
  ready(socket: TLSSocket): void {
    this.#socket = socket;
    if (this.#pending.length > 0 || this.#headBytes > 0) this.#violation('bytes before a request');
  }

  /**
   * Asks for one chunk; exactly `length` unverified bytes, to be disposed of by the caller.
   * @throws PeerError as the peer answered; CLOSED, TIMEOUT; the reason of the signal
   */
  async fetch(request: ChunkRequest, signal: AbortSignal | undefined): Promise<ChunkBytes> {
    signal?.throwIfAborted();
    if (this.#closed !== undefined || this.#socket === undefined) throw this.#closedError();
    const id = this.#takeId();
    const { length, ...asked } = request;
    const answered = Promise.withResolvers<ChunkBytes>();
    const pending: Pending = { id, length, answered, abandoned: false };
    if (this.#pending.length === 0) this.#lastByteMs = this.#turnMs = performance.now();
    this.#pending.push(pending);
    this.#watch();
    this.#socket.write(encodeFrame(encodeRequest({ id, kind: 'getChunk', ...asked })));
    const onAbort = (): void => {
      pending.abandoned = true;
      answered.reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await answered.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Asks what the peer holds of a blob; the answer may take `waitMs` more than the way to the peer.
   * @throws PeerError as the peer answered; CLOSED; the reason of the signal
   */
  async have(request: HaveRequest, signal: AbortSignal | undefined): Promise<PeerAvailability> {
    signal?.throwIfAborted();
    if (this.#closed !== undefined || this.#socket === undefined) throw this.#closedError();
    const id = this.#takeId();
    this.#socket.write(encodeFrame(encodeRequest({ id, kind: 'have', ...request })));
    return await this.#questions.ask(id, signal);
  }

  /** A question got no answer in time. With no byte since then, and no chunk due, the lane ends. */
  unanswered(sinceMs: number): void {
    if (this.#pending.length > 0 || this.#lastByteMs > sinceMs) return;
    this.#giveUp(performance.now() - sinceMs, 0);
  }

  /** Ends the lane, because of an error if there is one; open requests are rejected as CLOSED. */
  close(cause?: Error): void {
    this.#end(this.#closedError(cause));
  }

  #takeId(): number {
    const id = this.#nextId;
    this.#nextId = (id % 0xffff_ffff) + 1;
    return id;
  }

  #end(cause: PeerError): void {
    if (this.#closed !== undefined) return;
    this.#closed = cause;
    const hasNoChunk = this.#pending.length > 0 && !this.#served;
    this.#failed = hasNoChunk || (this.#questions.isAsked && !this.#answered);
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#body?.chunk?.discard();
    this.#body = undefined;
    for (const pending of this.#pending.splice(0)) pending.answered.reject(cause);
    this.#questions.end(cause);
  }

  #nextBuffer(): Buffer {
    const body = this.#body;
    if (body === undefined) return this.#scratch.subarray(this.#headBytes);
    if (body.chunk !== undefined) return body.chunk.bytes.subarray(body.filled);
    return this.#scratch.subarray(0, body.pending.length - body.filled);
  }

  #onRead(bytes: number): void {
    if (this.#closed !== undefined) return;
    this.#lastByteMs = performance.now();
    try {
      if (this.#body !== undefined) this.#bodyGrew(this.#body, bytes);
      else this.#scratchGrew(this.#headBytes + bytes);
    } catch (err) {
      this.#violation(err);
    }
  }

  #scratchGrew(end: number): void {
    let at = 0;
    while (this.#body === undefined && end - at >= LANE_HEAD_BYTES) {
      const head = readLaneHead(this.#scratch.subarray(at, at + LANE_HEAD_BYTES));
      const rest = this.#scratch.subarray(at + LANE_HEAD_BYTES, end);
      const isNews = this.#questions.has(head.id);
      const used = isNews ? this.#questions.take(head, rest) : this.#take(head, rest);
      if (used === undefined) break;
      this.#answered = true;
      at += LANE_HEAD_BYTES + used;
    }
    this.#scratch.copyWithin(0, at, end);
    this.#headBytes = end - at;
  }

  /** One answer; returns how many of the bytes behind its head belong to it. */
  #take(head: LaneHead, rest: Buffer): number {
    const [pending] = this.#pending;
    if (pending?.id !== head.id) throw new Error(`answer ${head.id} to no request`);
    this.#served = true;
    const expected = head.status === 'ok' ? pending.length : 0;
    if (head.bodyBytes !== expected) {
      throw new Error(`a body of ${head.bodyBytes} bytes, ${expected} were asked for`);
    }
    if (head.status !== 'ok') {
      this.#nextTurn();
      pending.answered.reject(statusError(head.status, this.#peerId));
      return 0;
    }
    const chunk = pending.abandoned ? undefined : this.#modules.buffers.take(expected);
    const used = Math.min(rest.length, expected);
    if (chunk !== undefined) rest.copy(chunk.bytes, 0, 0, used);
    this.#body = { pending, chunk, filled: 0 };
    this.#bodyGrew(this.#body, used);
    return used;
  }

  #bodyGrew(body: Body, bytes: number): void {
    const { pending, chunk } = body;
    body.filled += bytes;
    // Between two reads, so the next one goes elsewhere.
    if (pending.abandoned) {
      chunk?.[Symbol.dispose]();
      body.chunk = undefined;
    }
    if (body.filled < pending.length) return;
    this.#body = undefined;
    this.#turnTookMs = performance.now() - this.#turnMs;
    this.#nextTurn();
    if (body.chunk !== undefined) pending.answered.resolve(body.chunk);
  }

  /** The oldest request is answered; it is the turn of the next one. */
  #nextTurn(): void {
    this.#pending.shift();
    this.#turnMs = performance.now();
  }

  #watch(): void {
    if (this.#timer !== undefined) return;
    const nowMs = performance.now();
    const { stallMs, doubtMs } = this.#limits;
    const quietMaxMs = this.#doubtedMs === this.#lastByteMs ? stallMs : Math.min(doubtMs, stallMs);
    const endMs = Math.min(this.#lastByteMs + quietMaxMs, this.#turnMs + this.#turnMaxMs);
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(1, endMs - nowMs));
  }

  /** Longest time for the next answer. */
  get #turnMaxMs(): number {
    return this.#limits.bodyMs(this.#pending[0]?.length ?? 0);
  }

  // After a busy moment timers come before the bytes that have arrived meanwhile.
  #onTimer(): void {
    setImmediate(() => this.#judge());
  }

  #judge(): void {
    this.#timer = undefined;
    if (this.#pending.length === 0 || this.#closed !== undefined) return;
    const nowMs = performance.now();
    const quietMs = Math.round(nowMs - this.#lastByteMs);
    const turnMs = Math.round(nowMs - this.#turnMs);
    const { stallMs, doubtMs } = this.#limits;
    if (quietMs < stallMs && turnMs < this.#turnMaxMs) {
      if (quietMs >= doubtMs && this.#doubtedMs !== this.#lastByteMs) void this.#doubt();
      this.#watch();
      return;
    }
    this.#giveUp(quietMs, turnMs);
  }

  /** Asks the peer elsewhere; who answers neither there nor here meanwhile is gone. */
  async #doubt(): Promise<void> {
    const sinceMs = this.#lastByteMs;
    this.#doubtedMs = sinceMs;
    if (await this.#modules.answers()) return;
    setImmediate(() => {
      if (this.#lastByteMs !== sinceMs || this.#pending.length === 0) return;
      const nowMs = performance.now();
      this.#giveUp(Math.round(nowMs - sinceMs), Math.round(nowMs - this.#turnMs));
    });
  }

  #giveUp(quietMs: number, turnMs: number): void {
    const text = `The peer was silent for ${Math.round(quietMs)} ms, a chunk took ${turnMs} ms.`;
    this.#end(new PeerError(text, { code: 'TIMEOUT', peerId: this.#peerId }));
  }

  #violation(cause: unknown): void {
    const text = 'The peer broke the lane protocol.';
    const err = new PeerError(text, { code: 'PROTOCOL', peerId: this.#peerId }, { cause });
    this.#end(err);
    // What came before the peer has shown who it is was perhaps not the peer's.
    if (this.#socket !== undefined) this.#modules.onViolation(err);
  }

  #closedError(cause?: Error): PeerError {
    const data = { code: 'CLOSED', peerId: this.#peerId } as const;
    return new PeerError('The lane is closed.', data, { cause });
  }
}
