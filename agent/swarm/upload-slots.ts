import { hasCode } from '../../proto/std/errors.ts';
import { deadline, sleep } from '../../proto/std/abort.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import {
  UPLOADS_PER_PEER_MAX,
  UPLOAD_QUEUE_MAX,
  UPLOAD_QUEUE_TIMEOUT_MS,
  WRITE_SLICE_BYTES,
} from './constants.ts';

/** The right to send one body, with two buffers that are used again by the next one. */
export interface UploadSlot extends Disposable {
  readonly buffers: readonly [Buffer, Buffer];
}

/** Bounds how many bodies leave this node at a time, over all peers and per peer. */
export class UploadSlots {
  readonly #slots: Semaphore;
  readonly #perPeer = new Map<string, { slots: Semaphore; users: number }>();
  readonly #spare: (readonly [Buffer, Buffer])[] = [];

  readonly #rate: RateBudget | undefined;

  /** `rate`: what all bodies together may take of the link. */
  constructor(options: { uploads: number; rate?: RateBudget | undefined }) {
    this.#rate = options.rate;
    this.#slots = new Semaphore({ permits: options.uploads, queueMax: UPLOAD_QUEUE_MAX });
  }

  get inUse(): number {
    return this.#slots.inUse;
  }

  /** Waits for a turn to send so many; undefined when there are too many or it takes too long. */
  async acquire(peerId: string, bytes: number): Promise<UploadSlot | undefined> {
    const own = this.#perPeer.get(peerId) ?? {
      slots: new Semaphore({ permits: UPLOADS_PER_PEER_MAX, queueMax: UPLOAD_QUEUE_MAX }),
      users: 0,
    };
    this.#perPeer.set(peerId, own);
    own.users++;
    const leave = (): void => {
      if (--own.users === 0) this.#perPeer.delete(peerId);
    };
    using limit = deadline(UPLOAD_QUEUE_TIMEOUT_MS);
    const held: Disposable[] = [];
    const giveUp = (): undefined => {
      for (const part of held) part[Symbol.dispose]();
      leave();
    };
    try {
      held.push(await own.slots.acquire({ signal: limit.signal }));
      held.push(await this.#slots.acquire({ signal: limit.signal }));
      const waitMs = this.#rate === undefined ? 0 : this.#rate.take(bytes, UPLOAD_QUEUE_TIMEOUT_MS);
      if (waitMs === undefined) return giveUp();
      if (waitMs > 0) await sleep(waitMs);
    } catch (err) {
      giveUp();
      if (hasCode(err, 'TIMEOUT', 'QUEUE_FULL')) return undefined;
      throw err;
    }
    const buffers = this.#spare.pop() ?? newBuffers();
    return {
      buffers,
      [Symbol.dispose]: () => {
        this.#spare.push(buffers);
        for (const part of held) part[Symbol.dispose]();
        leave();
      },
    };
  }
}

function newBuffers(): readonly [Buffer, Buffer] {
  return [Buffer.allocUnsafeSlow(WRITE_SLICE_BYTES), Buffer.allocUnsafeSlow(WRITE_SLICE_BYTES)];
}
