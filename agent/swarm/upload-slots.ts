import { sleep } from '../../proto/std/abort.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import {
  SMALL_BODIES_MAX,
  SMALL_BODIES_PER_PEER_MAX,
  UPLOADS_PER_PEER_MAX,
  UPLOAD_BUFFER_BYTES,
  UPLOAD_QUEUE_TIMEOUT_MS,
} from './constants.ts';
import { PeerTurns } from './peer-turns.ts';

/** The right to send one body, with two buffers that are used again by the next one. */
export interface UploadSlot extends Disposable {
  readonly buffers: readonly [Buffer, Buffer];
}

/** Bounds how many bodies leave this node at a time, over all peers and per peer. */
export class UploadSlots {
  /** To read a small blob, and to have it in memory until it is sent. */
  readonly small = new PeerTurns({ max: SMALL_BODIES_MAX, perPeerMax: SMALL_BODIES_PER_PEER_MAX });
  readonly #turns: PeerTurns;
  readonly #spare: (readonly [Buffer, Buffer])[] = [];
  readonly #rate: RateBudget | undefined;

  /** `rate`: what all bodies together may take of the link. */
  constructor(options: { uploads: number; rate?: RateBudget | undefined }) {
    this.#rate = options.rate;
    this.#turns = new PeerTurns({ max: options.uploads, perPeerMax: UPLOADS_PER_PEER_MAX });
  }

  get inUse(): number {
    return this.#turns.inUse;
  }

  /**
   * Waits for a turn to send so many; undefined when there are too many or it takes too long.
   * @throws the reason of the signal
   */
  async acquire(
    peerId: string,
    bytes: number,
    o: { signal?: AbortSignal } = {},
  ): Promise<UploadSlot | undefined> {
    const turn = await this.#turns.acquire(peerId, o);
    if (turn === undefined) return undefined;
    using held = new DisposableStack();
    held.use(turn);
    const waitMs = this.#rate === undefined ? 0 : this.#rate.take(bytes, UPLOAD_QUEUE_TIMEOUT_MS);
    if (waitMs === undefined) return undefined;
    if (waitMs > 0) await sleep(waitMs, o);
    const buffers = this.#spare.pop() ?? newBuffers();
    held.defer(() => this.#spare.push(buffers));
    const all = held.move();
    return { buffers, [Symbol.dispose]: () => all.dispose() };
  }
}

function newBuffers(): readonly [Buffer, Buffer] {
  return [Buffer.allocUnsafeSlow(UPLOAD_BUFFER_BYTES), Buffer.allocUnsafeSlow(UPLOAD_BUFFER_BYTES)];
}
