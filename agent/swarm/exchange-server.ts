import type { Connection, Stream } from '@libp2p/interface';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { FRAME_MAX_BYTES, INFLIGHT_REQUESTS_MAX } from '../../proto/swarm/constants.ts';
import { encodeFrame, FrameReader } from '../../proto/swarm/frame-codec.ts';
import { decodeRequest, type SwarmRequest } from '../../proto/swarm/request.ts';
import { encodeResponse, type SwarmStatus } from '../../proto/swarm/response.ts';
import type { Admission } from './admission.ts';
import { PENDING_REQUESTS_MAX, STREAM_IDLE_TIMEOUT_MS, WRITE_SLICE_BYTES } from './constants.ts';
import { errorOf, PeerError } from './errors.ts';
import {
  openGrant,
  replyTo,
  unreadable,
  type Asker,
  type Body,
  type HandlerModules,
  type Reply,
} from './exchange-handlers.ts';
import { onSlices } from './frame-stream.ts';
import type { SwarmMetrics } from './metrics.ts';
import { StreamWriter, type SendSlice } from './stream-writer.ts';
import type { UploadSlot, UploadSlots } from './upload-slots.ts';

export type ServerModules = HandlerModules & {
  admission: Admission;
  uploads: UploadSlots;
  metrics: SwarmMetrics;
  logger: Logger;
};

/**
 * A request that waits or is being answered. What a grant lists may be a MiB, so such a request is
 * answered as it comes: then only its answer is held while the peer reads nothing.
 */
type Task = { id: number; kind: SwarmRequest['kind'] } & (
  | { request: SwarmRequest }
  | { reply: Reply }
);

/** Serves one exchange stream of a peer. Resets it unless the hello of the connection passed. */
export async function serveExchange(
  stream: Stream,
  connection: Connection,
  modules: ServerModules,
): Promise<void> {
  await modules.admission.settled(connection);
  const member = modules.admission.membershipOf(connection);
  if (!member) {
    modules.metrics.refused.inc({ reason: 'no_hello' });
    stream.abort(new PeerError('No hello on this connection.', { code: 'PROTOCOL' }));
    return;
  }
  const asker = { peerId: member.peerId, member };
  const stillMember = (): boolean => modules.admission.membershipOf(connection) !== undefined;
  new ServerStream(stream, asker, stillMember, modules).start();
}

class ServerStream {
  readonly #stream: Stream;
  readonly #asker: Asker;
  readonly #stillMember: () => boolean;
  readonly #modules: ServerModules;
  readonly #writer: StreamWriter;
  readonly #reader = new FrameReader({ maxBytes: FRAME_MAX_BYTES });
  readonly #ended = new AbortController();
  readonly #queue: Task[] = [];
  readonly #open = new Set<number>();
  #running = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(stream: Stream, asker: Asker, stillMember: () => boolean, modules: ServerModules) {
    this.#stream = stream;
    this.#asker = asker;
    this.#stillMember = stillMember;
    this.#modules = modules;
    this.#writer = new StreamWriter(stream);
  }

  start(): void {
    this.#restIdle();
    onSlices(this.#stream, {
      slice: (slice) => this.#onSlice(slice),
      end: () => this.#onEnd(),
    });
  }

  #onSlice(slice: Uint8Array): void {
    if (this.#ended.signal.aborted) return;
    try {
      this.#reader.push(slice);
      for (let frame = this.#reader.readFrame(); frame; frame = this.#reader.readFrame()) {
        this.#onRequest(decodeRequest(frame));
      }
    } catch (err) {
      this.#violation(err);
    }
  }

  #onRequest(request: SwarmRequest): void {
    if (this.#open.has(request.id)) throw new Error(`request ${request.id} is open already`);
    if (this.#queue.length >= PENDING_REQUESTS_MAX) throw new Error('too many open requests');
    const task = this.#taskOf(request);
    // It may have been a grant too many.
    if (this.#ended.signal.aborted) return;
    this.#open.add(task.id);
    this.#queue.push(task);
    this.#next();
  }

  #taskOf(request: SwarmRequest): Task {
    const { id, kind } = request;
    if (kind !== 'openGrant') return { id, kind, request };
    const reply: Reply = this.#stillMember()
      ? openGrant(request.bundle, this.#asker, this.#modules)
      : { answer: { status: 'noGrant' } };
    return { id, kind, reply };
  }

  #next(): void {
    while (this.#running < INFLIGHT_REQUESTS_MAX) {
      const task = this.#queue.shift();
      if (!task) break;
      this.#running++;
      void this.#run(task);
    }
    this.#restIdle();
  }

  async #run(task: Task): Promise<void> {
    try {
      if (!this.#stillMember()) throw new PeerError('Not a member.', { code: 'NOT_A_MEMBER' });
      await this.#serve(task);
    } catch (err) {
      // Whatever failed in mid-answer, the peer can only be told by cutting the stream.
      this.#stream.abort(errorOf(err));
      this.#onEnd();
      const fields = { node: this.#asker.member.node, peerId: this.#asker.peerId };
      if (hasCode(err, 'CLOSED')) {
        this.#modules.logger.debug({ ...fields, kind: task.kind }, 'peer left before the answer');
      } else {
        this.#modules.logger.warn(
          { ...fields, kind: task.kind, reason: messageOf(err) },
          'request of a peer failed, stream cut',
        );
      }
    } finally {
      this.#running--;
      this.#open.delete(task.id);
      if (!this.#ended.signal.aborted) this.#next();
    }
  }

  async #serve(task: Task): Promise<void> {
    const { id, kind } = task;
    const reply =
      'reply' in task
        ? task.reply
        : await replyTo(task.request, this.#asker, this.#modules, this.#ended.signal);
    if (this.#ended.signal.aborted) return;
    const status = reply.body
      ? await this.#sendBody(id, reply.body)
      : await this.#sendHead(id, reply.answer);
    this.#modules.metrics.served.inc({ kind, status });
  }

  async #sendHead(id: number, answer: Reply['answer']): Promise<SwarmStatus> {
    const frame = encodeFrame(encodeResponse({ ...answer, id, bodyBytes: 0 }));
    await this.#writer.exclusive((send) => sendSlices(frame, send));
    return answer.status;
  }

  async #sendBody(id: number, body: Body): Promise<SwarmStatus> {
    if (body.kind === 'small') return await this.#sendSmall(id, body.digest);
    if (body.kind === 'bytes') {
      const { bytes } = body;
      const frame = okFrame(id, bytes.length);
      await this.#writer.exclusive((send) => sendSlices(Buffer.concat([frame, bytes]), send));
      return 'ok';
    }
    using held = new DisposableStack();
    // Before the wait for a slot, so that no eviction comes between.
    held.use(body.blob.retain());
    const { uploads } = this.#modules;
    using slot = await uploads.acquire(this.#asker.peerId, lengthOf(body), this.#ended);
    if (!slot) return await this.#sendHead(id, { status: 'busy' });
    return await this.#sendChunk(id, body, slot);
  }

  /** In memory only while it is one of few, so that a peer that asks for many costs no more. */
  async #sendSmall(id: number, digest: Digest): Promise<SwarmStatus> {
    const { uploads, content, metrics } = this.#modules;
    const { peerId } = this.#asker;
    using turn = await uploads.small.acquire(peerId, this.#ended);
    if (!turn) return await this.#sendHead(id, { status: 'busy' });
    this.#ended.signal.throwIfAborted();
    const bytes = await content.small(digest);
    if (!bytes) return await this.#sendHead(id, { status: 'notFound' });
    using slot = await uploads.acquire(peerId, bytes.length, this.#ended);
    if (!slot) return await this.#sendHead(id, { status: 'busy' });
    await this.#writer.exclusive(async (send) => {
      await send(okFrame(id, bytes.length));
      await sendSlices(bytes, send);
    });
    metrics.uploaded.inc(bytes.length);
    return 'ok';
  }

  async #sendChunk(id: number, chunk: ChunkBody, slot: UploadSlot): Promise<SwarmStatus> {
    const sent = (bytes: number): void => this.#modules.metrics.uploaded.inc(bytes);
    let first: Buffer;
    try {
      first = await readSlice(chunk, chunk.start, slot, 0);
    } catch (err) {
      return await this.#sendHead(id, { status: unreadable(err, this.#modules.logger) });
    }
    try {
      await this.#writer.exclusive(async (send) => {
        await send(okFrame(id, lengthOf(chunk)));
        await sendChunk(chunk, first, slot, send, sent);
      });
    } catch (err) {
      // The connection outlives the stream, and may have a slice of it that it has not sent yet.
      slot.discardBuffers();
      throw err;
    }
    return 'ok';
  }

  #violation(err: unknown): void {
    this.#modules.ban(this.#asker.peerId, 'protocol-violation', { reason: messageOf(err) });
    this.#stream.abort(errorOf(err));
    this.#onEnd();
  }

  #restIdle(): void {
    clearTimeout(this.#idle);
    if (this.#running > 0 || this.#ended.signal.aborted) return;
    this.#idle = setTimeout(() => {
      this.#stream.abort(new Error('idle'));
      this.#onEnd();
    }, STREAM_IDLE_TIMEOUT_MS);
    this.#idle.unref();
  }

  #onEnd(): void {
    if (this.#ended.signal.aborted) return;
    clearTimeout(this.#idle);
    this.#queue.length = 0;
    this.#ended.abort(new PeerError('The peer closed the stream.', { code: 'CLOSED' }));
    if (this.#stream.writeStatus === 'writable') this.#stream.abort(new Error('peer left'));
  }
}

async function sendSlices(bytes: Buffer, send: SendSlice): Promise<void> {
  for (let at = 0; at < bytes.length; at += WRITE_SLICE_BYTES) {
    // oxlint-disable-next-line no-await-in-loop -- slices go out in order
    await send(bytes.subarray(at, at + WRITE_SLICE_BYTES));
  }
}

type ChunkBody = Extract<Body, { kind: 'chunk' }>;

function lengthOf({ start, end }: ChunkBody): number {
  return end - start;
}

function okFrame(id: number, bodyBytes: number): Buffer {
  return encodeFrame(encodeResponse({ id, status: 'ok', bodyBytes }));
}

async function readSlice(
  chunk: ChunkBody,
  position: number,
  slot: UploadSlot,
  turn: number,
): Promise<Buffer> {
  const length = Math.min(WRITE_SLICE_BYTES, chunk.end - position);
  const slice = slot.buffer(turn, WRITE_SLICE_BYTES).subarray(0, length);
  await chunk.blob.read(slice, position);
  return slice;
}

/** Reads one slice while the one before it is on its way, in two buffers. */
async function sendChunk(
  chunk: ChunkBody,
  first: Buffer,
  slot: UploadSlot,
  send: SendSlice,
  sent: (bytes: number) => void,
): Promise<void> {
  let slice = first;
  let next = chunk.start + first.length;
  for (let turn = 1; ; turn++) {
    const coming = next < chunk.end ? readSlice(chunk, next, slot, turn) : undefined;
    // Both are awaited even when one fails, or the other would end unobserved.
    // oxlint-disable-next-line no-await-in-loop -- slices go out in order
    const [flushed, read] = await Promise.allSettled([send(slice), coming]);
    if (flushed.status === 'rejected') throw flushed.reason;
    if (read.status === 'rejected') throw read.reason;
    sent(slice.length);
    if (!read.value) return;
    slice = read.value;
    next += slice.length;
  }
}
