import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { CallOptions } from '../fetch/ports.ts';
import { HUB_PATIENCE_MS, HUB_SILENT_PATIENCE_MS } from './constants.ts';
import { MirrorError } from './errors.ts';
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

/**
 * What a tag means while the hub cannot be asked: the newest statement it signed, up to a maximum
 * age. Whatever the hub itself answers counts, a refusal included.
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
    const stop = new AbortController();
    const signals = o.signal === undefined ? [stop.signal] : [stop.signal, o.signal];
    let outcome: Outcome<T> | undefined;
    const asking = ways.hub({ signal: AbortSignal.any(signals) });
    const watch = async (): Promise<void> => {
      try {
        outcome = { answer: await asking };
      } catch (failure) {
        outcome = { failure };
      }
    };
    const asked = watch();
    try {
      await this.#waitFor(asked, tags.online, o);
      if (isFinal(outcome)) return await asking;
      const tag = await tags.newest(name, this.#options.maxAgeMs, o);
      // The hub may have answered meanwhile, and its word counts.
      if (tag === undefined || isFinal(outcome)) return await abortable(asking, o.signal);
      return await this.#fromStatement(name, tag, ways, { o, outcome });
    } finally {
      stop.abort(new Error('the answer is there'));
    }
  }

  async #fromStatement<T>(
    name: TagName,
    tag: StaleTag,
    ways: TagWays<T>,
    rest: { o: CallOptions; outcome: Outcome<T> | undefined },
  ): Promise<T> {
    const { metrics, logger } = this.#modules;
    const { digest, timeMs, source } = tag;
    const answer = await ways.stale(tag, rest.o);
    metrics.staleTags.inc({ source });
    const why =
      rest.outcome && 'failure' in rest.outcome ? messageOf(rest.outcome.failure) : 'slow';
    const stated = new Date(timeMs).toISOString();
    const fields = { ...name, digest, stated, source, hub: why };
    logger.info(fields, 'the hub does not answer; tag as it last stated');
    return answer;
  }

  /** Until the hub has answered or failed, or has had the time that leaves enough for peers. */
  async #waitFor(asked: Promise<void>, online: boolean, o: CallOptions): Promise<void> {
    const patienceMs = online ? HUB_PATIENCE_MS : HUB_SILENT_PATIENCE_MS;
    using limit = deadline(Math.min(patienceMs, this.#options.headersTimeoutMs / 2), o.signal);
    try {
      await abortable(asked, limit.signal);
    } catch {
      o.signal?.throwIfAborted();
    }
  }
}

/** Whether the hub has spoken: anything but silence and failures on the way to it. */
function isFinal(outcome: Outcome<unknown> | undefined): boolean {
  if (outcome === undefined) return false;
  if ('answer' in outcome) return true;
  const { failure } = outcome;
  const isSilence =
    failure instanceof MirrorError &&
    failure.data.code === 'UNAVAILABLE' &&
    failure.data.reason === 'unreachable';
  return !isSilence && !hasCode(failure, 'TIMEOUT');
}
