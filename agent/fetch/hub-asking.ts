import { hasBit } from './chunk-bits.ts';
import type { ChunkTable } from './chunk-table.ts';
import { STARVED_LONG_MS, UNLEASED_INFLIGHT_MAX } from './constants.ts';
import { HUB } from './flights.ts';
import type { Flights } from './flights.ts';
import type { HubDesk } from './hub-desk.ts';
import type { PeerState, PlannerPeers } from './planner-peers.ts';
import type { ReaderState } from './planner-port.ts';
import { hasStood } from './urgency.ts';

export type HubAskingModules = {
  table: ChunkTable;
  flights: Flights;
  peers: PlannerPeers;
  desk: HubDesk;
  /** Whether anything more may be asked for, of whomever. */
  isRoom: (nowMs: number) => boolean;
  ask: (index: number, leased: boolean) => void;
};

/** How things are for one round of choices. */
export type View = { nowMs: number; usualMs: number; readers: readonly ReaderState[] };

/** Where reading goes on first; 0 without a reader. */
export function lowestCursor(readers: readonly ReaderState[]): number {
  return readers.length === 0 ? 0 : Math.min(...readers.map(({ chunk }) => chunk));
}

/** Which chunks are asked of the hub, or an upstream: leased ones, and others within the budget. */
export class HubAsking {
  readonly #random: () => number;
  readonly #modules: HubAskingModules;
  /** The first chunk may be asked for although it cannot be checked yet. */
  #mayBeEarly: boolean;

  constructor(options: { random: () => number; growing?: boolean }, modules: HubAskingModules) {
    this.#random = options.random;
    this.#modules = modules;
    this.#mayBeEarly = options.growing ?? false;
  }

  leased(nowMs: number): void {
    const { table, flights, peers, desk, isRoom, ask } = this.#modules;
    for (const index of desk.leases) {
      if (!isRoom(nowMs) || !desk.isOpenToLease(nowMs)) return;
      if (table.isHeld(index)) {
        this.#early(index);
        continue;
      }
      if (!table.isWanted(index) || peers.isAvailable(index, nowMs)) {
        desk.leases.delete(index);
      } else if (flights.admits(index, HUB)) {
        desk.leases.delete(index);
        ask(index, true);
      }
    }
  }

  /** A leased chunk whose hash is still to come. */
  #early(index: number): void {
    const { flights, desk, ask } = this.#modules;
    if (!this.#mayBeEarly || index !== 0 || !flights.admits(index, HUB)) return;
    this.#mayBeEarly = false;
    desk.leases.delete(index);
    ask(index, true);
  }

  unleased(view: View): void {
    const { peers, desk, isRoom, ask } = this.#modules;
    const { nowMs, usualMs, readers } = view;
    if (!desk.isOpen(nowMs)) return;
    this.#forStandingReaders(view);
    const { max, choice } = desk.unleased(nowMs, usualMs);
    if (desk.unleasedInflight >= max) return;
    const starved = desk.isStarved(nowMs, usualMs);
    // Who starves does not count on peers that failed of late.
    const counts = ({ failures }: PeerState): boolean => !starved || failures === 0;
    const { nothing } = this.#modules.table;
    const except = choice === 'any' ? nothing : peers.available(nowMs, counts);
    while (desk.unleasedInflight < max && isRoom(nowMs) && desk.isOpen(nowMs)) {
      const index = this.#pick(except, choice, readers);
      if (index < 0) break;
      ask(index, false);
    }
  }

  /** Chunks that nobody else can bring in time, within the budget as long as there is time. */
  #forStandingReaders({ nowMs, usualMs, readers }: View): void {
    const { table, flights, peers, desk, isRoom, ask } = this.#modules;
    const starved = desk.isStarved(nowMs, usualMs);
    desk.blocked = false;
    for (const reader of readers) {
      if (!isRoom(nowMs) || !desk.isOpen(nowMs)) return;
      if (desk.unleasedInflight >= UNLEASED_INFLIGHT_MAX) return;
      if (!hasStood(reader, nowMs) || !table.isWanted(reader.chunk)) continue;
      if (!flights.admits(reader.chunk, HUB)) continue;
      if (peers.isAvailable(reader.chunk, nowMs, starved)) continue;
      desk.blocked = true;
      if (desk.maySpend || hasStood(reader, nowMs, STARVED_LONG_MS)) ask(reader.chunk, false);
    }
  }

  #pick(
    except: Uint32Array,
    choice: 'in-order' | 'unavailable' | 'any',
    readers: readonly ReaderState[],
  ): number {
    const { table, flights } = this.#modules;
    const { busy, reopened } = flights;
    for (const index of reopened) {
      const isLeft = table.isWanted(index) && !hasBit(except, index);
      if (isLeft && flights.admits(index, HUB)) return index;
    }
    const search = { offered: table.everything, busy, except };
    return choice === 'in-order'
      ? table.pickInOrder(search, lowestCursor(readers))
      : table.pickRarest(search, this.#random, choice === 'unavailable');
  }
}
