import { ATTEMPTS_PER_CHUNK_MAX, DUPLICATES_MAX } from './constants.ts';

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
  overdue: boolean;
};

/** Requests in flight, by ticket and by chunk, within the bounds on duplicates. */
export class Flights {
  readonly #byTicket = new Map<number, Flight>();
  readonly #byChunk = new Map<number, Flight[]>();
  #next = 1;
  #duplicates = 0;

  get size(): number {
    return this.#byTicket.size;
  }

  get duplicates(): number {
    return this.#duplicates;
  }

  get(ticket: number): Flight | undefined {
    return this.#byTicket.get(ticket);
  }

  /** A snapshot: it does not change while flights are removed. */
  of(index: number): readonly Flight[] {
    return [...(this.#byChunk.get(index) ?? [])];
  }

  all(): IterableIterator<Flight> {
    return this.#byTicket.values();
  }

  /** Whether `source` may be asked for the chunk now: nobody is, or all who are have stalled. */
  admits(index: number, source: SourceId): boolean {
    const flights = this.#byChunk.get(index);
    if (flights === undefined) return true;
    if (flights.length >= ATTEMPTS_PER_CHUNK_MAX || this.#duplicates >= DUPLICATES_MAX)
      return false;
    return flights.every((flight) => flight.overdue && flight.source !== source);
  }

  add(index: number, source: SourceId, leased: boolean): Flight {
    const flight: Flight = {
      ticket: this.#next,
      index,
      source,
      leased,
      startedMs: undefined,
      overdue: false,
    };
    this.#next += 1;
    this.#byTicket.set(flight.ticket, flight);
    const others = this.#byChunk.get(index);
    if (others === undefined) this.#byChunk.set(index, [flight]);
    else {
      others.push(flight);
      this.#duplicates += 1;
    }
    return flight;
  }

  remove(ticket: number): Flight | undefined {
    const flight = this.#byTicket.get(ticket);
    if (flight === undefined) return undefined;
    this.#byTicket.delete(ticket);
    const rest = (this.#byChunk.get(flight.index) ?? []).filter((other) => other !== flight);
    if (rest.length === 0) this.#byChunk.delete(flight.index);
    else {
      this.#byChunk.set(flight.index, rest);
      this.#duplicates -= 1;
    }
    return flight;
  }
}
