import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Collector, CollectWish } from './collector.ts';
import { GC_LOOK_MS } from './constants.ts';
import { GcError } from './errors.ts';
import type { GcRun, GcStore, HoldStore } from './store.ts';

type Modules = {
  collector: Collector;
  store: Pick<GcStore, 'run' | 'runs' | 'isTaken'> & Pick<HoldStore, 'heldUntil'>;
  logger: Logger;
  now?: () => number;
};

/** What of collections is known at all hubs. */
export type GcStatus = {
  /** Whether this or another hub collects now. */
  running: boolean;
  /** Until when removals are held off, ms since 1970. */
  heldUntilMs?: number;
  /** The one begun last. */
  last?: GcRun;
};

/** Collections by the schedule and by hand: one at a time in this process, and over all hubs. */
export class GcRuns implements AsyncDisposable {
  readonly #elsewhere: string | undefined;
  readonly #modules: Modules;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `elsewhere`: why this hub does not collect. */
  constructor(options: { elsewhere?: string | undefined }, modules: Modules) {
    this.#elsewhere = options.elsewhere;
    this.#modules = modules;
  }

  /** Collects from now on whenever the last collection, by any hub, began `intervalMs` ago. */
  schedule({ intervalMs }: { intervalMs: number }): void {
    if (this.#elsewhere !== undefined) return;
    const look = (): void => {
      this.#running ??= this.#collect({ unlessWithinMs: intervalMs });
    };
    this.#timer ??= setInterval(look, GC_LOOK_MS).unref();
  }

  /**
   * Begins a collection, which goes on by itself; its id.
   * @throws GcError COLLECTED_ELSEWHERE; COLLECTING when one goes on, here or elsewhere; errors of
   * the catalog
   */
  async start(): Promise<string> {
    if (this.#elsewhere !== undefined) {
      throw new GcError(this.#elsewhere, { code: 'COLLECTED_ELSEWHERE' });
    }
    if (this.#running !== undefined || this.#stop.signal.aborted) throw collecting();
    const begun = Promise.withResolvers<string | undefined>();
    this.#running = this.#collect({ begun: begun.resolve }).then(
      () => begun.resolve(undefined),
      begun.reject,
    );
    const id = await begun.promise;
    if (id === undefined) throw collecting();
    return id;
  }

  async status(): Promise<GcStatus> {
    const { store, now = Date.now } = this.#modules;
    const [last] = await store.runs(1);
    const heldUntilMs = await store.heldUntil(now());
    return {
      running: await store.isTaken(now()),
      ...(heldUntilMs === undefined ? {} : { heldUntilMs }),
      ...(last === undefined ? {} : { last }),
    };
  }

  run(id: string): Promise<GcRun | undefined> {
    return this.#modules.store.run(id);
  }

  /** Waits for a collection that goes on to stop. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#running;
  }

  /** Rejects only when nothing was begun. */
  async #collect({ begun, ...wish }: CollectWish): Promise<void> {
    let id: string | undefined;
    const told = (own: string): void => begun?.((id = own));
    const { signal } = this.#stop;
    try {
      await this.#modules.collector.collect({ ...wish, begun: told }, { signal });
    } catch (err) {
      if (begun !== undefined && id === undefined) throw err;
      if (!signal.aborted)
        this.#modules.logger.warn({ reason: messageOf(err) }, 'collection failed');
    } finally {
      this.#running = undefined;
    }
  }
}

function collecting(): GcError {
  return new GcError('a collection goes on already', { code: 'COLLECTING' });
}
