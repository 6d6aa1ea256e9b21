import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { NamedLease, NamedLeases } from './named-lease.ts';

/** Work that comes again and again, of which one hub at a time is enough. */
export type Chore = {
  /** The same at every hub. */
  name: string;
  everyMs: number;
  /** `signal` aborts when the hub ends, or another hub has the work now. */
  run: (signal: AbortSignal) => Promise<void>;
};

type ChoreModules = { leases: Pick<NamedLeases, 'acquire' | 'renew'>; logger: Logger };

/** Parts of the time between two runs after which the lease of a run that lasts is renewed. */
const RENEWALS = 3;

/**
 * Does chores in time, whenever this hub has their lease. The lease is kept until the next time, so
 * that hubs which share a catalog do a chore once in `everyMs` together.
 */
export class Chores {
  readonly #modules: ChoreModules;
  readonly #end = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #running = new Map<string, Promise<void>>();

  constructor(modules: ChoreModules) {
    this.#modules = modules;
  }

  /** The first time comes at once. */
  add(chore: Chore): void {
    const timer = setInterval(() => this.#begin(chore), chore.everyMs);
    timer.unref();
    this.#timers.push(timer);
    this.#begin(chore);
  }

  /** Ends what runs, and resolves then. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#end.abort();
    await Promise.all(this.#running.values());
  }

  #begin(chore: Chore): void {
    const { name } = chore;
    if (this.#running.has(name) || this.#end.signal.aborted) return;
    const turn = this.#turn(chore).catch((err: unknown) => {
      if (this.#end.signal.aborted) return;
      this.#modules.logger.warn({ chore: name, reason: messageOf(err) }, 'a chore failed');
    });
    this.#running.set(
      name,
      turn.finally(() => this.#running.delete(name)),
    );
  }

  async #turn({ name, everyMs, run }: Chore): Promise<void> {
    const lease = await this.#modules.leases.acquire(name, everyMs);
    if (lease === undefined) return;
    const lost = new AbortController();
    const held = { lease };
    const timer = setInterval(() => void this.#renew(held, everyMs, lost), everyMs / RENEWALS);
    timer.unref();
    try {
      await run(AbortSignal.any([lost.signal, this.#end.signal]));
    } finally {
      clearInterval(timer);
    }
  }

  /** Never rejects. */
  async #renew(held: { lease: NamedLease }, lifeMs: number, lost: AbortController): Promise<void> {
    try {
      const renewed = await this.#modules.leases.renew(held.lease, lifeMs);
      if (renewed === undefined) lost.abort();
      else held.lease = renewed;
    } catch {
      // The database is away; another hub may begin when the lease ends.
      if (performance.now() >= held.lease.endsAtMs) lost.abort();
    }
  }
}
