import type { Connection } from '@libp2p/interface';
import { BULK_STREAMS_MAX, BULK_STREAM_TARGET_INFLIGHT } from './constants.ts';
import { ExchangeStream } from './exchange-stream.ts';

/**
 * The streams that carry chunk bodies of one peer. A second one is opened when the first has work
 * enough, so that one slow body does not hold up all the others.
 */
export class BulkStreams {
  readonly #connection: Connection;
  readonly #onViolation: (err: Error) => void;
  readonly #streams: ExchangeStream[] = [];
  #opening: Promise<ExchangeStream> | undefined;

  constructor(connection: Connection, options: { onViolation: (err: Error) => void }) {
    this.#connection = connection;
    this.#onViolation = options.onViolation;
  }

  /** The stream with the least work; opens one when there is none or all are busy. */
  async pick(signal: AbortSignal): Promise<ExchangeStream> {
    const open = this.#streams.filter((stream) => !stream.closed);
    this.#streams.splice(0, this.#streams.length, ...open);
    let best = open[0];
    for (const stream of open) if (!best || stream.load < best.load) best = stream;
    if (best && (best.load < BULK_STREAM_TARGET_INFLIGHT || open.length >= BULK_STREAMS_MAX)) {
      return best;
    }
    this.#opening ??= this.#open(signal).finally(() => {
      this.#opening = undefined;
    });
    // While the next one is opened, the one there is goes on.
    if (best) {
      this.#opening.catch(() => {});
      return best;
    }
    return this.#opening;
  }

  close(): void {
    for (const stream of this.#streams.splice(0)) stream.close();
  }

  async #open(signal: AbortSignal): Promise<ExchangeStream> {
    const stream = await ExchangeStream.open(this.#connection, {
      signal,
      onViolation: this.#onViolation,
    });
    this.#streams.push(stream);
    return stream;
  }
}
