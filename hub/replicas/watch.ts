import { LAPSE_MS, TAKEOVER_MS } from './constants.ts';
import type { ReplicaRow } from './store.ts';

type Seen = { joined: number; beat: number; sinceMs: number };

/**
 * Sees whose heartbeats stand still, by its own clock alone: clocks of different machines are never
 * compared. `nowMs` is of a clock that does not run faster than time does.
 */
export class Watch {
  readonly #seen = new Map<string, Seen>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** Takes a look in; the replicas whose heartbeats stood still for TAKEOVER_MS. */
  look(replicas: readonly ReplicaRow[], nowMs: number): ReplicaRow[] {
    // While we could not look, perhaps nobody could give a heartbeat.
    const isBlind = nowMs - this.#lookedMs > LAPSE_MS;
    this.#lookedMs = nowMs;
    const ids = new Set(replicas.map(({ id }) => id));
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
    return replicas.filter(({ id, joined, beat }) => {
      const known = this.#seen.get(id);
      const isSame = known !== undefined && known.joined === joined && known.beat === beat;
      if (!isSame || isBlind) this.#seen.set(id, { joined, beat, sinceMs: nowMs });
      else if (nowMs - known.sinceMs >= TAKEOVER_MS) return true;
      return false;
    });
  }
}
