import { deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { UPLOAD_QUEUE_MAX, UPLOAD_QUEUE_TIMEOUT_MS } from './constants.ts';

/** Bounds how much of something is done at a time, over all peers and for each of them. */
export class PeerTurns {
  readonly #perPeerMax: number;
  readonly #all: Semaphore;
  readonly #perPeer = new Map<string, { turns: Semaphore; users: number }>();

  constructor(options: { max: number; perPeerMax: number }) {
    this.#perPeerMax = options.perPeerMax;
    this.#all = new Semaphore({ permits: options.max, queueMax: UPLOAD_QUEUE_MAX });
  }

  get inUse(): number {
    return this.#all.inUse;
  }

  /**
   * Waits for a turn; undefined when too many wait or UPLOAD_QUEUE_TIMEOUT_MS are over.
   * @throws the reason of the signal
   */
  async acquire(peerId: string, o: { signal?: AbortSignal } = {}): Promise<Disposable | undefined> {
    o.signal?.throwIfAborted();
    const own = this.#perPeer.get(peerId) ?? {
      turns: new Semaphore({ permits: this.#perPeerMax, queueMax: UPLOAD_QUEUE_MAX }),
      users: 0,
    };
    this.#perPeer.set(peerId, own);
    own.users++;
    using held = new DisposableStack();
    held.defer(() => {
      if (--own.users === 0) this.#perPeer.delete(peerId);
    });
    const ownFree = held.use(own.turns.tryAcquire());
    if (ownFree && held.use(this.#all.tryAcquire())) return held.move();
    using limit = deadline(UPLOAD_QUEUE_TIMEOUT_MS, o.signal);
    try {
      if (!ownFree) held.use(await own.turns.acquire({ signal: limit.signal }));
      held.use(await this.#all.acquire({ signal: limit.signal }));
    } catch (err) {
      o.signal?.throwIfAborted();
      if (hasCode(err, 'TIMEOUT', 'QUEUE_FULL')) return undefined;
      throw err;
    }
    return held.move();
  }
}
