import { sleep } from '../../proto/std/abort.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import {
  SMALL_BODIES_MAX,
  SMALL_BODIES_PER_PEER_MAX,
  UPLOADS_PER_PEER_MAX,
  UPLOAD_QUEUE_TIMEOUT_MS,
} from './constants.ts';
import { PeerTurns } from './peer-turns.ts';
import { UploadBuffers, type UploadBuffer } from './upload-buffers.ts';

/** The right to send one body, with two buffers that are used again by other ones. */
export interface UploadSlot extends Disposable {
  /** The buffer of this turn, for `wanted` bytes or as many of them as fit. */
  buffer(turn: number, wanted: number): Buffer;
  /** Has nobody get the buffers again, because something may still read them. */
  discardBuffers(): void;
}

/** Bounds how many bodies leave this node at a time, over all peers and per peer. */
export class UploadSlots {
  /** To read a small blob, and to have it in memory until it is sent. */
  readonly small = new PeerTurns({ max: SMALL_BODIES_MAX, perPeerMax: SMALL_BODIES_PER_PEER_MAX });
  readonly #turns: PeerTurns;
  readonly #buffers = new UploadBuffers();
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
    const turns = held.move();
    const lent: [UploadBuffer?, UploadBuffer?] = [];
    return {
      buffer: (at, wanted) => (lent[at % 2 === 0 ? 0 : 1] ??= this.#buffers.take(wanted)).bytes,
      discardBuffers: () => {
        for (const buffer of lent.splice(0)) buffer?.discard();
      },
      [Symbol.dispose]: () => {
        for (const buffer of lent.splice(0)) buffer?.[Symbol.dispose]();
        turns.dispose();
      },
    };
  }

  /** Lets buffers go that nobody needs. */
  rest(): void {
    this.#buffers.rest();
  }
}
