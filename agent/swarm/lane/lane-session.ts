import type { Duplex } from 'node:stream';
import type { Logger } from '../../../proto/ops/logger.ts';
import { messageOf } from '../../../proto/std/errors.ts';
import { FrameReader } from '../../../proto/swarm/frame-codec.ts';
import { LANE_HEAD_BYTES, writeLaneHead } from '../../../proto/swarm/lane.ts';
import { decodeRequest, type SwarmRequest } from '../../../proto/swarm/request.ts';
import type { SwarmStatus } from '../../../proto/swarm/response.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import { PeerError } from '../errors.ts';
import { replyTo, unreadable, type Body, type HandlerModules } from '../exchange-handlers.ts';
import type { SwarmMetrics } from '../metrics.ts';
import { writePatienceMs } from '../patience.ts';
import type { UploadSlot, UploadSlots } from '../upload-slots.ts';
import { LANE_PIPELINE_MAX, LANE_REQUEST_MAX_BYTES } from './constants.ts';

export type SessionModules = HandlerModules & {
  member: Membership;
  stillMember: () => boolean;
  uploads: UploadSlots;
  metrics: SwarmMetrics;
  logger: Logger;
};

type ChunkBody = Extract<Body, { kind: 'chunk' }>;

/** The serving side of one lane: one request after the other, each answered in full. */
export class LaneSession {
  readonly #socket: Duplex;
  readonly #modules: SessionModules;
  readonly #reader = new FrameReader({ maxBytes: LANE_REQUEST_MAX_BYTES });
  readonly #queue: SwarmRequest[] = [];
  readonly #ended = new AbortController();
  /** Requests whose answer is not with the socket in full. What the peer has, it may replace. */
  #unanswered = 0;
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
        const request = decodeRequest(frame);
        if (request.kind !== 'getChunk') throw new Error(`${request.kind} on a lane`);
        if (this.#unanswered >= LANE_PIPELINE_MAX) throw new Error('too many open requests');
        this.#unanswered++;
        this.#queue.push(request);
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

  async #run(): Promise<void> {
    this.#running = true;
    try {
      for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
        if (this.#ended.signal.aborted) return;
        if (!this.#modules.stillMember()) throw new Error('not a member any more');
        // oxlint-disable-next-line no-await-in-loop -- answers go out in order
        const status = await this.#answer(next);
        this.#queue.shift();
        this.#modules.metrics.served.inc({ kind: next.kind, status });
      }
    } catch (err) {
      // Whatever failed in mid-answer, the peer can only be told by cutting the lane.
      this.close();
      const { node, peerId } = this.#modules.member;
      const level = this.#ended.signal.aborted ? 'debug' : 'warn';
      const fields = { node, peerId, reason: messageOf(err) };
      this.#modules.logger[level](fields, 'request of a peer failed, lane cut');
    } finally {
      this.#running = false;
    }
  }

  async #answer(request: SwarmRequest): Promise<SwarmStatus> {
    const { member } = this.#modules;
    const asker = { peerId: member.peerId, member };
    const { answer, body } = await replyTo(request, asker, this.#modules, this.#ended.signal);
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
