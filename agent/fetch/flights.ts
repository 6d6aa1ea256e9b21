import { clearBit, newBits, setBit } from './chunk-bits.ts';
import { ATTEMPTS_PER_CHUNK_MAX, DUPLICATES_MAX, STALL_MAX_MS } from './constants.ts';

export const HUB = Symbol('hub');
export type SourceId = string | typeof HUB;

/** One request for one chunk. */
export type Flight = {
  ticket: number;
  index: number;
  source: SourceId;
  leased: boolean;
  /** undefined while it waits for memory. */
  startedMs: number | undefined;
  /** It is overdue when it takes longer than this. */
  stallMs: number;
  overdue: boolean;
  /** Not overdue, but worth the cost of a second request. */
  hedged: boolean;
};

/** Requests in flight, by ticket and by chunk, within the bounds on duplicates. */
export class Flights {
  /** Chunks that are being fetched. */
  readonly busy: Uint32Array;
  readonly #byTicket = new Map<number, Flight>();
  readonly #byChunk = new Map<number, Flight[]>();
  /** Chunks that may be asked for once more: all who were asked are slow. */
  readonly #reopened = new Set<number>();
  #next = 1;
  #duplicates = 0;
  #overdue = 0;

  constructor(chunkCount: number) {
    this.busy = newBits(chunkCount);
  }

  get size(): number {
    return this.#byTicket.size;
  }

  get duplicates(): number {
    return this.#duplicates;
  }

  /** Those whose source seems stuck: nothing is gained by waiting for them. */
  get overdue(): number {
    return this.#overdue;
  }

  get(ticket: number): Flight | undefined {
    return this.#byTicket.get(ticket);
  }

  /** Does not change while flights are removed. */
  of(index: number): readonly Flight[] {
    return this.#byChunk.get(index) ?? NONE;
  }

  all(): IterableIterator<Flight> {
    return this.#byTicket.values();
  }

  /** Chunks that somebody else may be asked for as well. */
  get reopened(): ReadonlySet<number> {
    return this.#reopened;
  }

  /** Whether `source` may be asked for the chunk now: nobody is, or all who are have stalled. */
  admits(index: number, source: SourceId): boolean {
    const flights = this.#byChunk.get(index);
    if (flights === undefined) return true;
    if (!this.#reopened.has(index) || this.#duplicates >= DUPLICATES_MAX) return false;
    return flights.every((flight) => flight.source !== source);
  }

  /** The request is slow: its chunk may be asked for elsewhere. */
  reopen(flight: Flight, how: 'overdue' | 'hedged'): void {
    if (how === 'overdue' && !flight.overdue) this.#overdue += 1;
    flight[how] = true;
    this.#review(flight.index);
  }

  add(index: number, source: SourceId, leased: boolean): Flight {
    const flight: Flight = {
      ticket: this.#next,
      index,
      source,
      leased,
      startedMs: undefined,
      stallMs: STALL_MAX_MS,
      overdue: false,
      hedged: false,
    };
    this.#next += 1;
    this.#byTicket.set(flight.ticket, flight);
    const others = this.#byChunk.get(index);
    if (others === undefined) {
      this.#byChunk.set(index, [flight]);
      setBit(this.busy, index);
    } else {
      this.#byChunk.set(index, [...others, flight]);
      this.#duplicates += 1;
      this.#review(index);
    }
    return flight;
  }

  remove(ticket: number): Flight | undefined {
    const flight = this.#byTicket.get(ticket);
    if (flight === undefined) return undefined;
    this.#byTicket.delete(ticket);
    if (flight.overdue) this.#overdue -= 1;
    const all = this.of(flight.index);
    if (all.length === 1) {
      this.#byChunk.delete(flight.index);
      clearBit(this.busy, flight.index);
    } else {
      const rest = all.filter((other) => other !== flight);
      this.#byChunk.set(flight.index, rest);
      this.#duplicates -= 1;
    }
    this.#review(flight.index);
    return flight;
  }

  #review(index: number): void {
    const flights = this.of(index);
    const open =
      flights.length > 0 &&
      flights.length < ATTEMPTS_PER_CHUNK_MAX &&
      flights.every((flight) => flight.overdue || flight.hedged);
    if (open) this.#reopened.add(index);
    else if (this.#reopened.size > 0) this.#reopened.delete(index);
  }
}

const NONE: readonly Flight[] = [];
