import { GAIN_DUPLICATES_PART, STANDING_HEDGE_MS } from './constants.ts';
import type { Flight, Flights } from './flights.ts';
import type { ReaderState } from './planner-port.ts';
import { Quantile } from './quantile.ts';
import { hasStood } from './urgency.ts';

/** Requests slower than this part of all are worth a second one. */
const SLOW_PART = 0.9;
const LEARNING_STEP = 0.05;
/** Not sooner than this many times the slow duration when nothing blocks a reader. */
const ENDGAME_SLOW_TIMES = 1.5;

/**
 * When a chunk is worth asking for twice although nobody has failed: it blocks a reader, or it is
 * among the last. Bounded by a part of the blob, over the whole download, but for readers that have
 * stood for long: each of their chunks has a second try.
 */
export class SecondTries {
  readonly #slow: Quantile;
  #budget: number;

  constructor(options: { chunkCount: number; startMs: number }) {
    this.#budget = Math.floor(options.chunkCount * GAIN_DUPLICATES_PART);
    this.#slow = new Quantile({ part: SLOW_PART, start: options.startMs, step: LEARNING_STEP });
  }

  landed(tookMs: number): void {
    this.#slow.add(tookMs);
  }

  /** Reopens the slow ones among the chunks that block readers, or soon will. */
  hedge(
    flights: Flights,
    blocked: { readers: readonly ReaderState[]; urgent: readonly number[] },
    nowMs: number,
  ): void {
    const waiting = blocked.readers.filter(({ waitingSinceMs: since }) => {
      return since !== undefined && nowMs - since >= this.#slow.value;
    });
    for (const reader of blocked.readers) {
      const [only, second] = flights.of(reader.chunk);
      if (only === undefined || second !== undefined || !hasStood(reader, nowMs)) continue;
      const isSlow = nowMs - (only.startedMs ?? nowMs) >= STANDING_HEDGE_MS;
      if (isSlow && !only.hedged) flights.reopen(only, 'hedged');
    }
    for (const index of [...waiting.map(({ chunk }) => chunk), ...blocked.urgent]) {
      const [only, second] = flights.of(index);
      if (only !== undefined && second === undefined) {
        this.#reopen(flights, only, nowMs, this.#slow.value);
      }
    }
  }

  /** Nothing is left to ask for but what others bring: reopens what they are slow with. */
  endgame(flights: Flights, nowMs: number): void {
    for (const flight of flights.all()) {
      this.#reopen(flights, flight, nowMs, this.#slow.value * ENDGAME_SLOW_TIMES);
    }
  }

  #reopen(flights: Flights, flight: Flight, nowMs: number, afterMs: number): void {
    if (this.#budget <= 0 || flight.hedged || flight.startedMs === undefined) return;
    if (nowMs - flight.startedMs < afterMs) return;
    this.#budget -= 1;
    flights.reopen(flight, 'hedged');
  }
}
