import type { Connection } from '@libp2p/interface';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { BULK_STREAMS_MAX, BULK_STREAM_TARGET_INFLIGHT, LINK_TIMEOUT_MS } from './constants.ts';
import { ExchangeStream } from './exchange-stream.ts';

/** What is needed of a stream to choose among several. */
export type BulkStream = Pick<ExchangeStream, 'closed' | 'load' | 'close'>;

/**
 * The streams that carry chunk bodies of one peer. A second one is opened when the first has work
 * enough, so that one slow body does not hold up all the others.
 */
export class BulkStreams<S extends BulkStream = ExchangeStream> {
  readonly #openStream: (o: { signal: AbortSignal }) => Promise<S>;
  readonly #streams: S[] = [];
  readonly #closed = new AbortController();
  #opening: Promise<S> | undefined;

  constructor(openStream: (o: { signal: AbortSignal }) => Promise<S>) {
    this.#openStream = openStream;
  }

  /**
   * The stream with the least work; opens one when there is none or all are busy.
   * @throws the reason of the signal; why no stream could be opened within LINK_TIMEOUT_MS
   */
  async pick(signal: AbortSignal): Promise<S> {
    const open = this.#streams.filter((stream) => !stream.closed);
    this.#streams.splice(0, this.#streams.length, ...open);
    let best = open[0];
    for (const stream of open) if (!best || stream.load < best.load) best = stream;
    if (best && (best.load < BULK_STREAM_TARGET_INFLIGHT || open.length >= BULK_STREAMS_MAX)) {
      return best;
    }
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    // While the next one is opened, the one there is goes on.
    if (best) {
      this.#opening.catch(() => {});
      return best;
    }
    return abortable(this.#opening, signal);
  }

  close(): void {
    this.#closed.abort(new Error('the link is closed'));
    for (const stream of this.#streams.splice(0)) stream.close();
  }

  // Not under the signal of one caller: others wait for the same stream.
  async #open(): Promise<S> {
    using limit = deadline(LINK_TIMEOUT_MS, this.#closed.signal);
    const stream = await abortable(this.#openStream({ signal: limit.signal }), limit.signal);
    this.#streams.push(stream);
    return stream;
  }
}

/** The bulk streams over one connection. */
export function bulkStreamsOf(
  connection: Connection,
  options: { onViolation: (err: Error) => void },
): BulkStreams {
  return new BulkStreams((o) => ExchangeStream.open(connection, { ...o, ...options }));
}
