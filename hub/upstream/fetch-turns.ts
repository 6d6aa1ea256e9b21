import { createHash } from 'node:crypto';
import { sleep } from '../../proto/std/abort.ts';
import type { NamedLeases } from '../catalog/named-lease.ts';
import { FETCH_LEASE_MS, FETCH_LEASES, FETCH_LOOK_MS } from './pull-constants.ts';

type Turn<T> = {
  /** What another hub may have brought meanwhile. */
  look: () => Promise<T | undefined>;
  work: () => Promise<T>;
  signal: AbortSignal;
};

/** Lets one hub of those that share a catalog fetch something; the others find it there. */
export class FetchTurns {
  readonly #leases: Pick<NamedLeases, 'acquire' | 'release'> | undefined;

  /** `leases`: of a catalog that other hubs have too. */
  constructor(modules: { leases: Pick<NamedLeases, 'acquire' | 'release'> | undefined }) {
    this.#leases = modules.leases;
  }

  async run<T>(key: string, { look, work, signal }: Turn<T>): Promise<T> {
    const leases = this.#leases;
    if (leases === undefined) return work();
    const name = `upstream ${bucketOf(key)}`;
    for (;;) {
      const lease = await leases.acquire(name, FETCH_LEASE_MS);
      if (lease !== undefined) {
        try {
          return (await look()) ?? (await work());
        } finally {
          await leases.release(lease);
        }
      }
      await sleep(FETCH_LOOK_MS, { signal });
      const found = await look();
      if (found !== undefined) return found;
    }
  }
}

/** Rows of leases stay: few names for all. */
function bucketOf(key: string): number {
  return createHash('sha256').update(key).digest().readUInt32BE() % FETCH_LEASES;
}
