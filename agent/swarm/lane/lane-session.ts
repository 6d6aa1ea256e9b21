import type { Duplex } from 'node:stream';
import type { Logger } from '../../../proto/ops/logger.ts';
import { messageOf } from '../../../proto/std/errors.ts';
import { FrameReader } from '../../../proto/swarm/frame-codec.ts';
import { encodeLaneHave, LANE_HEAD_BYTES, writeLaneHead } from '../../../proto/swarm/lane.ts';
import { decodeRequest, type SwarmRequest } from '../../../proto/swarm/request.ts';
import type { SwarmStatus } from '../../../proto/swarm/response.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import { PeerError } from '../errors.ts';
import {
  replyTo,
  unreadable,
  type Body,
  type HandlerModules,
  type Reply,
} from '../exchange-handlers.ts';
import type { SwarmMetrics } from '../metrics.ts';
import { writePatienceMs } from '../patience.ts';
import type { UploadSlot, UploadSlots } from '../upload-slots.ts';
import { LANE_PIPELINE_MAX, LANE_QUESTIONS_MAX, LANE_REQUEST_MAX_BYTES } from './constants.ts';

export type SessionModules = HandlerModules & {
  member: Membership;
  stillMember: () => boolean;
  uploads: UploadSlots;
  metrics: SwarmMetrics;
  logger: Logger;
};

type ChunkBody = Extract<Body, { kind: 'chunk' }>;

/**
 * The serving side of one lane: one chunk after the other, each answered in full. What was asked
 * about holdings is answered between two chunks, when there is news or the wait is over.
 */
export class LaneSession {
  readonly #socket: Duplex;
  readonly #modules: SessionModules;
  readonly #reader = new FrameReader({ maxBytes: LANE_REQUEST_MAX_BYTES });
  readonly #queue: SwarmRequest[] = [];
  readonly #ended = new AbortController();
  /** Requests whose answer is not with the socket in full. What the peer has, it may replace. */
  #unanswered = 0;
  /** Questions about holdings whose answer is not with the socket. */
  #questions = 0;
  /** Answers to some of them. */
  readonly #news: Buffer[] = [];
  #running = false;

  constructor(socket: Duplex, modules: SessionModules) {
    this.#socket = socket;
    this.#modules = modules;
    socket.on('data', (bytes: Buffer) => this.#onData(bytes));
    socket.on('close', () => {
      this.#ended.abort(new PeerError('The peer closed the lane.', { code: 'CLOSED' }));
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #onData(bytes: Buffer): void {
    try {
      this.#reader.push(bytes);
      for (let frame = this.#reader.readFrame(); frame; frame = this.#reader.readFrame()) {
        this.#onRequest(decodeRequest(frame));
      }
    } catch (err) {
      this.#modules.ban(this.#modules.member.peerId, 'protocol-violation', {
        reason: messageOf(err),
      });
      this.close();
      return;
    }
    if (!this.#running) void this.#run();
  }

  #onRequest(request: SwarmRequest): void {
    if (request.kind === 'have') {
      if (this.#questions >= LANE_QUESTIONS_MAX) throw new Error('too many open questions');
      this.#questions++;
      void this.#tell(request);
      return;
    }
    if (request.kind !== 'getChunk') throw new Error(`${request.kind} on a lane`);
    if (this.#unanswered >= LANE_PIPELINE_MAX) throw new Error('too many open requests');
    this.#unanswered++;
    this.#queue.push(request);
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#news.length + this.#queue.length > 0) {
        if (this.#ended.signal.aborted) return;
        if (!this.#modules.stillMember()) throw new Error('not a member any more');
        // oxlint-disable-next-line no-await-in-loop -- answers go out one after the other
        await this.#sendNews();
        const [next] = this.#queue;
        if (next === undefined) continue;
        // oxlint-disable-next-line no-await-in-loop -- answers go out in order
        const status = await this.#answer(next);
        this.#queue.shift();
        this.#modules.metrics.served.inc({ kind: next.kind, status });
      }
    } catch (err) {
      this.#fail(err);
    } finally {
      this.#running = false;
    }
  }

  /** Whatever failed in mid-answer, the peer can only be told by cutting the lane. */
  #fail(err: unknown): void {
    this.close();
    const { node, peerId } = this.#modules.member;
    const level = this.#ended.signal.aborted ? 'debug' : 'warn';
    const fields = { node, peerId, reason: messageOf(err) };
    this.#modules.logger[level](fields, 'request of a peer failed, lane cut');
  }

  /** Answers a question as soon as there is news, between two chunks. */
  async #tell(request: SwarmRequest): Promise<void> {
    try {
      const { answer } = await this.#replyTo(request);
      if (this.#ended.signal.aborted) return;
      this.#news.push(newsOf(request.id, answer));
      this.#modules.metrics.served.inc({ kind: request.kind, status: answer.status });
      if (!this.#running) void this.#run();
    } catch (err) {
      this.#fail(err);
    }
  }

  async #sendNews(): Promise<void> {
    const news = this.#news.splice(0);
    if (news.length === 0) return;
    this.#questions -= news.length;
    await this.#write(Buffer.concat(news), false);
  }

  #replyTo(request: SwarmRequest): Promise<Reply> {
    const { member } = this.#modules;
    const asker = { peerId: member.peerId, member };
    return replyTo(request, asker, this.#modules, this.#ended.signal);
  }

  async #answer(request: SwarmRequest): Promise<SwarmStatus> {
    const { answer, body } = await this.#replyTo(request);
    if (body?.kind === 'chunk') return await this.#sendChunk(request.id, body);
    await this.#refuse(request.id, answer.status);
    return answer.status;
  }

  async #refuse(id: number, status: SwarmStatus): Promise<void> {
    const head = Buffer.alloc(LANE_HEAD_BYTES);
    writeLaneHead({ id, status, bodyBytes: 0 }, head);
    await this.#write(head, true);
  }

  async #sendChunk(id: number, chunk: ChunkBody): Promise<SwarmStatus> {
    const length = chunk.end - chunk.start;
    // Before the wait for a slot, so that no eviction comes between.
    using kept = chunk.blob.retain();
    void kept;
    const { member, uploads } = this.#modules;
    using slot = await uploads.acquire(member.peerId, length, this.#ended);
    if (slot === undefined) {
      await this.#refuse(id, 'busy');
      return 'busy';
    }
    let next = chunk.start;
    let slice: Buffer;
    try {
      slice = await readSlice(chunk, next, slot, 0);
    } catch (err) {
      const status = unreadable(err, this.#modules.logger);
      await this.#refuse(id, status);
      return status;
    }
    writeLaneHead({ id, status: 'ok', bodyBytes: length }, slice);
    for (let turn = 1; ; turn++) {
      const bodyBytes = slice.length - LANE_HEAD_BYTES;
      next += bodyBytes;
      const isLast = next === chunk.end;
      const sending = this.#write(turn === 1 ? slice : slice.subarray(LANE_HEAD_BYTES), isLast);
      // oxlint-disable-next-line no-await-in-loop -- slices go out in order
      const read = await (isLast ? sending : both(sending, readSlice(chunk, next, slot, turn)));
      this.#modules.metrics.uploaded.inc(bodyBytes);
      if (read === undefined) return 'ok';
      slice = read;
    }
  }

  /** Resolves when the bytes may be overwritten. `last`: with them the answer is whole. */
  #write(bytes: Buffer, last: boolean): Promise<void> {
    if (last) this.#unanswered--;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const patienceMs = writePatienceMs(bytes.length);
    const stall = setTimeout(() => {
      const text = `The peer did not take ${bytes.length} bytes in ${patienceMs} ms.`;
      this.#socket.destroy(new PeerError(text, { code: 'TIMEOUT' }));
    }, patienceMs);
    this.#socket.write(bytes, (err) => {
      clearTimeout(stall);
      if (err) reject(err);
      else resolve();
    });
    return promise;
  }
}

/** The answer to a question about holdings. */
function newsOf(id: number, { status, result }: Reply['answer']): Buffer {
  const body =
    result?.kind === 'availability' ? encodeLaneHave(result.availability) : Buffer.alloc(0);
  const head = Buffer.alloc(LANE_HEAD_BYTES);
  writeLaneHead({ id, status, bodyBytes: body.length }, head);
  return Buffer.concat([head, body]);
}

/** Bytes of the chunk from `position` on, behind room for a head. */
async function readSlice(
  chunk: ChunkBody,
  position: number,
  slot: UploadSlot,
  turn: number,
): Promise<Buffer> {
  const wanted = LANE_HEAD_BYTES + chunk.end - position;
  const buffer = slot.buffer(turn, wanted);
  const slice = buffer.subarray(0, Math.min(buffer.length, wanted));
  await chunk.blob.read(slice.subarray(LANE_HEAD_BYTES), position);
  return slice;
}

/** What was read, when the other is over too: neither may end unobserved. */
async function both<T>(sending: Promise<void>, reading: Promise<T>): Promise<T> {
  const [sent, read] = await Promise.allSettled([sending, reading]);
  if (sent.status === 'rejected') throw sent.reason;
  if (read.status === 'rejected') throw read.reason;
  return read.value;
}
