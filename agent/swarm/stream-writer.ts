import type { Stream } from '@libp2p/interface';
import { WRITE_STALL_TIMEOUT_MS } from './constants.ts';
import { PeerError } from './errors.ts';
import { writePatienceMs } from './patience.ts';

/** Sends one slice; resolves when libp2p holds no reference to it any more. */
export type SendSlice = (slice: Uint8Array) => Promise<void>;

/**
 * Writes messages to a libp2p stream one after the other, never more than one slice ahead of what
 * the peer takes. libp2p itself queues without limit, so `send` returning false must be obeyed.
 */
export class StreamWriter {
  readonly #stream: Stream;
  readonly #stallMs: number;
  #tail: Promise<void> = Promise.resolve();

  constructor(stream: Stream, options: { stallMs?: number } = {}) {
    this.#stream = stream;
    this.#stallMs = options.stallMs ?? WRITE_STALL_TIMEOUT_MS;
  }

  /** Runs `task` when all earlier messages are out; nothing else is written meanwhile. */
  async exclusive<T>(task: (send: SendSlice) => Promise<T>): Promise<T> {
    const before = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    await before;
    try {
      return await task((slice) => this.#send(slice));
    } finally {
      resolve();
    }
  }

  /** Writes one message. Throws PeerError CLOSED or TIMEOUT. */
  write(message: Uint8Array): Promise<void> {
    return this.exclusive((send) => send(message));
  }

  async #send(slice: Uint8Array): Promise<void> {
    if (this.#stream.writeStatus !== 'writable') throw closed();
    try {
      this.#stream.send(slice);
    } catch (cause) {
      throw closed(cause);
    }
    if (!this.#flushed()) await this.#waitFlushed(writePatienceMs(slice.length, this.#stallMs));
  }

  // What libp2p still refers to is either in the stream's own queue, or was handed to a connection
  // that is full, which the stream shows as needing a drain.
  #flushed(): boolean {
    return this.#stream.writeBufferLength === 0 && !this.#stream.writableNeedsDrain;
  }

  // `onDrain()` cannot be used: after its first call it resolves at once, full or not.
  async #waitFlushed(patienceMs: number): Promise<void> {
    const stream = this.#stream;
    let wake = Promise.withResolvers<void>();
    let stalled = false;
    const onEvent = (): void => {
      wake.resolve();
    };
    const onStall = (): void => {
      stalled = true;
      wake.resolve();
    };
    let timer = setTimeout(onStall, patienceMs);
    stream.addEventListener('drain', onEvent);
    stream.addEventListener('idle', onEvent);
    stream.addEventListener('close', onEvent);
    let queued = stream.writeBufferLength;
    try {
      while (!this.#flushed()) {
        // oxlint-disable-next-line no-await-in-loop -- each turn waits for the next event
        await wake.promise;
        wake = Promise.withResolvers<void>();
        if (stream.status !== 'open' && stream.status !== 'closing') throw closed();
        if (stream.writeBufferLength < queued) {
          queued = stream.writeBufferLength;
          clearTimeout(timer);
          timer = setTimeout(onStall, patienceMs);
        } else if (stalled) {
          const err = new PeerError(`The peer took no byte for ${patienceMs} ms.`, {
            code: 'TIMEOUT',
          });
          stream.abort(err);
          throw err;
        }
      }
    } finally {
      clearTimeout(timer);
      stream.removeEventListener('drain', onEvent);
      stream.removeEventListener('idle', onEvent);
      stream.removeEventListener('close', onEvent);
    }
  }
}

function closed(cause?: unknown): PeerError {
  return new PeerError('The stream is closed.', { code: 'CLOSED' }, { cause });
}
