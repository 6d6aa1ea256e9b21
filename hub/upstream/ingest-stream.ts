import type { Digest } from '../../proto/oci/digest.ts';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { CodedError, hasCode } from '../../proto/std/errors.ts';
import { BlobStoreError } from '../blobs/errors.ts';
import { CatalogError } from '../catalog/errors.ts';
import { UpstreamError } from './errors.ts';
import type { UpstreamBody, UpstreamPlace } from './port.ts';
import {
  INGEST_PAUSE_BASE_MS,
  INGEST_PAUSE_MAX_MS,
  INGEST_STALL_MS,
  INGEST_TOLD_WAIT_MAX_MS,
  INGEST_TRIES_MAX,
} from './pull-constants.ts';

/** Takes pieces of a blob in order; `size` is what it has already. */
export type Sink = {
  readonly size: number;
  take(slice: Buffer): Promise<void>;
  /** Writes what was taken. */
  flush(): Promise<void>;
};

type Source = {
  place: UpstreamPlace;
  digest: Digest;
  signal: AbortSignal;
  stallMs?: number | undefined;
};

type Options = Source & {
  /** Bytes of the whole. */
  size: number;
  /** An answer from the first byte on that is there already. */
  first: OpenAnswer | undefined;
  onRetry: (err: unknown) => void;
  now: () => number;
};

/** An answer of an upstream that is cut when it brings nothing for long. */
export type OpenAnswer = UpstreamBody & {
  /** Nobody reads it any more. */
  close(): void;
};

/** What no further try makes better. */
const FINAL = ['REFUSED', 'NOT_ALLOWED', 'AUTH_FAILED', 'SIZE_CHANGED', 'GONE', 'HELD_ELSEWHERE'];

/**
 * Brings what is missing of a blob, over resets of the upstream, by Range from where it broke off.
 * Ends when the sink has all of it.
 * @throws the last fault after INGEST_TRIES_MAX tries without a byte; faults of the sink
 */
export async function streamInto(sink: Sink, options: Options): Promise<void> {
  const { size, signal, onRetry } = options;
  let ignoresRange = false;
  let { first } = options;
  for (let tries = 0; sink.size < size;) {
    const before = sink.size;
    try {
      await one(sink, { ...options, first, ignoresRange });
      first = undefined;
      await sink.flush();
    } catch (err) {
      signal.throwIfAborted();
      if (isFinal(err)) throw err;
      first = undefined;
      await sink.flush();
      ignoresRange ||= hasCode(err, 'RANGE_IGNORED');
      tries = sink.size > before ? 1 : tries + 1;
      if (tries >= INGEST_TRIES_MAX) throw err;
      onRetry(err);
      await sleep(pauseOf(err, tries, options.now()), { signal });
    }
  }
}

/** Opens a blob from `start` on; undefined: the upstream does not have it. */
export async function openAt(
  { place, digest, stallMs = INGEST_STALL_MS, ...source }: Source,
  start: number,
): Promise<OpenAnswer | undefined> {
  const stalled = new AbortController();
  const begin = (): NodeJS.Timeout =>
    setTimeout(() => {
      stalled.abort(new CodedError(`no byte came for ${stallMs} ms`, { code: 'TIMEOUT' }));
    }, stallMs);
  let timer: NodeJS.Timeout | undefined;
  const moved = (): void => {
    clearTimeout(timer);
    if (!stalled.signal.aborted) timer = begin();
  };
  const close = (): void => {
    clearTimeout(timer);
    stalled.abort();
  };
  const signal = AbortSignal.any([source.signal, stalled.signal]);
  // Others that are served before it, however long, are no silence.
  const ask = { signal, urgency: 'interactive' as const, onTurn: moved };
  const range = start === 0 ? {} : { start };
  try {
    const answer = await place.upstream.openBlob(place.remote, digest, { ...ask, ...range });
    if (answer !== undefined) return { ...answer, body: moving(answer.body, moved), close };
  } catch (err) {
    close();
    throw err;
  }
  close();
  return undefined;
}

/** Tells when a part has come, and when the next one is waited for. */
async function* moving(body: AsyncIterable<Buffer>, moved: () => void): AsyncGenerator<Buffer> {
  for await (const part of body) {
    moved();
    yield part;
    moved();
  }
}

/** One answer of the upstream, to its end. */
async function one(sink: Sink, options: Options & { ignoresRange: boolean }): Promise<void> {
  const { place, size, first, ignoresRange } = options;
  const start = ignoresRange ? 0 : sink.size;
  let skip = sink.size - start;
  const answer = first ?? (await openAt(options, start));
  if (answer === undefined) throw fault('GONE', `${place.upstream.host} has it no more`);
  try {
    if (answer.size !== size) {
      throw fault('SIZE_CHANGED', `it has ${answer.size} bytes now and had ${size}`);
    }
    for await (const slice of answer.body) {
      const part = skip > 0 ? slice.subarray(skip) : slice;
      skip = Math.max(0, skip - slice.length);
      if (part.length > 0) await sink.take(part);
    }
  } finally {
    answer.close();
  }
}

function isFinal(err: unknown): boolean {
  const isOurs = err instanceof BlobStoreError || err instanceof CatalogError;
  return isOurs || hasCode(err, ...FINAL);
}

/** As long as the upstream says, when that is not too long. */
function pauseOf(err: unknown, tries: number, nowMs: number): number {
  const ownMs = backoffMs(tries, { baseMs: INGEST_PAUSE_BASE_MS, maxMs: INGEST_PAUSE_MAX_MS });
  const told = err instanceof UpstreamError && 'retryAtMs' in err.data ? err.data.retryAtMs : 0;
  const toldMs = (told ?? 0) - nowMs;
  if (toldMs > INGEST_TOLD_WAIT_MAX_MS) throw err;
  return Math.max(ownMs, toldMs);
}

function fault(code: 'GONE' | 'SIZE_CHANGED', message: string): Error {
  return new CodedError(message, { code });
}
