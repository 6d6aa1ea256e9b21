import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline, sleep } from '../../proto/std/abort.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { CallOptions } from '../fetch/ports.ts';
import {
  HEADERS_MARGIN_MS,
  HUB_BUSY_PAUSE_MS,
  HUB_PATIENCE_MS,
  HUB_SILENT_PATIENCE_MS,
} from './constants.ts';
import { MirrorError, type UnavailableReason } from './errors.ts';
import type { MirrorMetrics } from './metrics.ts';
import type { StaleTag, TagSource } from './ports.ts';

export type StaleTagsModules = {
  /** undefined: this agent is in no fleet. */
  tags: TagSource | undefined;
  metrics: Pick<MirrorMetrics, 'staleTags'>;
  logger: Logger;
};

/** `hub` asks the hub itself; `stale` answers with the manifest that a statement names. */
export type TagWays<T> = {
  hub: (o: CallOptions) => Promise<T>;
  stale: (tag: StaleTag, o: CallOptions) => Promise<T>;
};

type Outcome<T> = { answer: T } | { failure: unknown };

/** What a statement led to; undefined: there is none. */
type Prepared<T> = { tag: StaleTag; answer: T } | undefined;

/**
 * What a tag means while the hub cannot be asked: the newest statement it signed, up to a maximum
 * age. Whatever the hub itself answers counts, a refusal included. A hub that is slow or busy is
 * waited for as long as a client can be; what it last stated is only made ready meanwhile.
 */
export class StaleTags {
  readonly #options: { maxAgeMs: number; headersTimeoutMs: number };
  readonly #modules: StaleTagsModules;

  /** `maxAgeMs` 0: never. */
  constructor(options: { maxAgeMs: number; headersTimeoutMs: number }, modules: StaleTagsModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** The hub has answered what the name means; undefined: it has no such tag. */
  resolved(name: TagName, digest: Digest | undefined): void {
    if (this.#options.maxAgeMs > 0) this.#modules.tags?.resolved(name, digest);
  }

  /** @throws what `hub` throws, unless a statement helps; then what `stale` throws */
  async answer<T>(name: TagName, ways: TagWays<T>, o: CallOptions): Promise<T> {
    const { tags } = this.#modules;
    if (tags === undefined || this.#options.maxAgeMs === 0) return ways.hub(o);
    const startMs = performance.now();
    const stop = new AbortController();
    const signals = o.signal === undefined ? [stop.signal] : [stop.signal, o.signal];
    const both = { signal: AbortSignal.any(signals) };
    try {
      const hub = watched(askHub(ways, tags, both));
      await within(hub.settled, this.#patienceMs(tags.online), o);
      if (isFinal(hub.outcome)) return await hub.promise;
      const stale = watched(this.#prepare(name, ways, tags, both));
      const either = Promise.withResolvers<void>();
      void stale.settled.then(either.resolve);
      void hub.settled.then(() => isFinal(hub.outcome) && either.resolve());
      await abortable(either.promise, o.signal);
      if (tags.online && hub.outcome === undefined) {
        const leftMs = this.#waitMaxMs - (performance.now() - startMs);
        await within(hub.settled, isUseful(stale.outcome) ? leftMs : Number.POSITIVE_INFINITY, o);
      }
      if (isFinal(hub.outcome)) return await hub.promise;
      const prepared = await stale.promise;
      if (prepared === undefined) return await abortable(hub.promise, o.signal);
      this.#count(name, prepared.tag, hub.outcome);
      return prepared.answer;
    } finally {
      stop.abort(new Error('the answer is there'));
    }
  }

  async #prepare<T>(
    name: TagName,
    ways: TagWays<T>,
    tags: TagSource,
    o: CallOptions,
  ): Promise<Prepared<T>> {
    const tag = await tags.newest(name, this.#options.maxAgeMs, o);
    return tag && { tag, answer: await ways.stale(tag, o) };
  }

  #count(name: TagName, tag: StaleTag, outcome: Outcome<unknown> | undefined): void {
    const { metrics, logger } = this.#modules;
    const { digest, timeMs, source } = tag;
    metrics.staleTags.inc({ source });
    const why = outcome && 'failure' in outcome ? messageOf(outcome.failure) : 'slow';
    const stated = new Date(timeMs).toISOString();
    const fields = { ...name, digest, stated, source, hub: why };
    logger.info(fields, 'the hub does not answer; tag as it last stated');
  }

  /** Time for the hub alone, which leaves enough for peers. */
  #patienceMs(online: boolean): number {
    const patienceMs = online ? HUB_PATIENCE_MS : HUB_SILENT_PATIENCE_MS;
    return Math.min(patienceMs, this.#options.headersTimeoutMs / 2);
  }

  /** Time for a hub that is there, with a stale answer at hand. */
  get #waitMaxMs(): number {
    const { headersTimeoutMs } = this.#options;
    return Math.max(headersTimeoutMs - HEADERS_MARGIN_MS, headersTimeoutMs / 2);
  }
}

/** Asks the hub, and again while it says that it is busy. */
async function askHub<T>(ways: TagWays<T>, tags: TagSource, o: CallOptions): Promise<T> {
  for (;;) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one question after the other
      return await ways.hub(o);
    } catch (err) {
      if (reasonOf(err) !== 'busy' || !tags.online) throw err;
    }
    // oxlint-disable-next-line no-await-in-loop -- one question after the other
    await sleep(HUB_BUSY_PAUSE_MS, o);
  }
}

/** A promise with its outcome so far. */
type Watched<T> = {
  promise: Promise<T>;
  outcome: Outcome<T> | undefined;
  /** Resolves with the promise, however it ends. */
  settled: Promise<void>;
};

function watched<T>(promise: Promise<T>): Watched<T> {
  const settled = promise.then(
    (answer) => void (watch.outcome = { answer }),
    (failure: unknown) => void (watch.outcome = { failure }),
  );
  const watch: Watched<T> = { promise, outcome: undefined, settled };
  return watch;
}

/** Waits for a promise that never rejects, but not longer. @throws the reason of the signal */
async function within(settled: Promise<void>, ms: number, o: CallOptions): Promise<void> {
  using limit = deadline(Math.max(0, ms), o.signal);
  try {
    await abortable(settled, limit.signal);
  } catch {
    o.signal?.throwIfAborted();
  }
}

/** Whether the hub has spoken: anything but silence and failures on the way to it. */
function isFinal(outcome: Outcome<unknown> | undefined): boolean {
  if (outcome === undefined) return false;
  if ('answer' in outcome) return true;
  const { failure } = outcome;
  const reason = reasonOf(failure);
  return reason !== 'unreachable' && reason !== 'busy' && !hasCode(failure, 'TIMEOUT');
}

/** Whether there is a stale answer. */
function isUseful(outcome: Outcome<Prepared<unknown>> | undefined): boolean {
  return outcome !== undefined && 'answer' in outcome && outcome.answer !== undefined;
}

function reasonOf(err: unknown): UnavailableReason | undefined {
  const isUnavailable = err instanceof MirrorError && err.data.code === 'UNAVAILABLE';
  return isUnavailable ? err.data.reason : undefined;
}
