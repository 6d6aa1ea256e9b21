import type { ServerResponse } from 'node:http';
import type { BlobHandle, FileSink } from '../fetch/ports.ts';
import { BODY_STALL_MAX_MS } from './constants.ts';
import { MirrorError } from './errors.ts';
import type { ConnectionSink } from './file-sink.ts';

/** The next buffer, or undefined at the end. */
type Step = { buffer: Buffer | undefined };

/**
 * One reader of a blob on its way to a client. Every wait for the source has a limit; `stop`
 * releases the cursor at once, also when the source never answers.
 */
export class BodyReader {
  readonly #handle: BlobHandle;
  readonly #iterator: AsyncIterator<Buffer>;
  readonly #stop = new AbortController();
  #pending: Promise<Step> | undefined;
  #isSent = false;

  /** `sink`: where bytes may go past the reader, which is told of it by an empty buffer. */
  constructor(handle: BlobHandle, range: { start: number; end: number }, sink?: FileSink) {
    this.#handle = handle;
    const o = { signal: this.#stop.signal, sink };
    this.#iterator = handle.read(range, o)[Symbol.asyncIterator]();
  }

  /**
   * Waits at most `ms` for the first bytes, so that a source that fails at once can still be
   * answered with a status. False: nothing yet.
   */
  arrives(ms: number): Promise<boolean> {
    return within(
      this.#ask().then(() => true),
      ms,
      ({ resolve }) => resolve(false),
    );
  }

  /**
   * The next bytes, valid until the next call; undefined at the end.
   * @throws MirrorError STALLED after `stallMs` in which `progress` stood still too, and in any
   *   case after the longer of that and BODY_STALL_MAX_MS; ClientGone; what the source throws
   */
  async next(
    { stallMs, progress }: { stallMs: number; progress: () => number },
    gone?: AbortSignal,
  ): Promise<Buffer | undefined> {
    const maxMs = Math.max(stallMs, BODY_STALL_MAX_MS);
    for (let waitedMs = 0, before = progress(); ; before = progress()) {
      const waitMs = Math.min(stallMs, maxMs - waitedMs);
      // oxlint-disable-next-line no-await-in-loop -- one wait after the other
      const step = await within<Step | undefined>(this.#ask(), waitMs, giveUp, gone);
      if (step !== undefined) {
        this.#pending = undefined;
        return step.buffer;
      }
      waitedMs += waitMs;
      if (progress() === before || waitedMs >= maxMs) throw stalled('source', waitedMs);
    }
  }

  /** The system has all bytes that were wanted, so their buffer may be used again. */
  sent(): void {
    this.#isSent = true;
  }

  stop(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(new Error('the reader has ended'));
    this.#pending?.catch(() => {});
    if (this.#isSent) this.#iterator.next().catch(() => {});
    this.#iterator.return?.().catch(() => {});
    this.#handle[Symbol.dispose]();
  }

  #ask(): Promise<Step> {
    this.#pending ??= this.#iterator
      .next()
      .then((result) => ({ buffer: result.done === true ? undefined : result.value }));
    return this.#pending;
  }
}

/**
 * Writes exactly `expected` bytes to a response whose headers are set. A buffer is handed back to
 * the source only after the system has taken it.
 * @throws MirrorError STALLED, SHORT_BODY, LONG_BODY; ClientGone; what the source throws
 */
export async function sendBody(
  response: ServerResponse,
  reader: BodyReader,
  o: {
    expected: number;
    stallMs: number;
    clientStallMs: number;
    /** Rises while content of the blob arrives, be it further on than this client reads. */
    progress: () => number;
    sent: (bytes: number) => void;
    gone: AbortSignal;
    /** What the reader was given. */
    sink?: Pick<ConnectionSink, 'written' | 'drain'> | undefined;
  },
): Promise<void> {
  const { expected, clientStallMs, sink } = o;
  let sent = 0;
  const counted = (bytes: number): number => {
    o.sent(bytes);
    return bytes;
  };
  while (sent < expected) {
    const buffer = await reader.next(o, o.gone);
    sent += counted(sink?.drain() ?? 0);
    if (buffer === undefined) {
      throw new MirrorError('the source ended before the body was complete', {
        code: 'SHORT_BODY',
        expected,
        sent,
      });
    }
    if (buffer.length > expected - sent) {
      throw new MirrorError('the source sent more than the body holds', {
        code: 'LONG_BODY',
        expected,
      });
    }
    if (buffer.length === 0) continue;
    await writeFlushed(response, buffer, clientStallMs);
    sent += counted(buffer.length);
    sink?.written();
  }
  reader.sent();
}

/** Thrown when the client closed its connection: normal, containerd does it all the time. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/** Resolves when the system has taken the bytes, so that their buffer may be used again. */
export function writeFlushed(
  response: ServerResponse,
  bytes: Buffer,
  stallMs: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (response.destroyed || response.closed) {
      reject(clientGone());
      return;
    }
    const finish = (err?: Error | null): void => {
      clearTimeout(timeout);
      response.off('close', onClose);
      if (err === undefined || err === null) resolve();
      else reject(err);
    };
    const onClose = (): void => finish(clientGone());
    const timeout = setTimeout(() => finish(stalled('client', stallMs)), stallMs);
    response.once('close', onClose);
    response.write(bytes, (err) => {
      finish(err === undefined || err === null ? undefined : clientGone(err));
    });
  });
}

function giveUp({ resolve }: PromiseWithResolvers<Step | undefined>): void {
  resolve(undefined);
}

/** The promise, or what `late` makes of it after `ms`, or a rejection once the client is gone. */
function within<T>(
  work: Promise<T>,
  ms: number,
  late: (outcome: PromiseWithResolvers<T>) => void,
  gone?: AbortSignal,
): Promise<T> {
  const outcome = Promise.withResolvers<T>();
  const timeout = setTimeout(() => late(outcome), ms);
  const onGone = (): void => outcome.reject(clientGone());
  if (gone?.aborted === true) onGone();
  gone?.addEventListener('abort', onGone);
  work.then(outcome.resolve, outcome.reject);
  return outcome.promise.finally(() => {
    clearTimeout(timeout);
    gone?.removeEventListener('abort', onGone);
  });
}

export function clientGone(cause?: unknown): ClientGone {
  return new ClientGone('the client closed the connection', { cause });
}

function stalled(side: 'source' | 'client', afterMs: number): MirrorError {
  return new MirrorError(
    side === 'source' ? 'no source delivered bytes' : 'the client does not read',
    { code: 'STALLED', side, afterMs },
  );
}
