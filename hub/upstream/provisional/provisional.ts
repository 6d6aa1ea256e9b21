import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { UNCHUNKED_MAX_BYTES } from '../../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../../proto/chunks/merkle.ts';
import {
  BATCH_LEAVES_MAX,
  SESSION_BYTES,
  signBatch,
  type ProvisionalState,
} from '../../../proto/chunks/provisional.ts';
import type { Digest } from '../../../proto/oci/digest.ts';
import { ociError } from '../../../proto/oci/errors.ts';
import { isRepository, type Repository } from '../../../proto/oci/name.ts';
import { abortable, deadline } from '../../../proto/std/abort.ts';
import { hasCode } from '../../../proto/std/errors.ts';
import type { SigningKey } from '../../../proto/trust/keys.ts';
import type { OpenBlob } from '../../blobs/port.ts';
import { LeafNews } from './leaf-news.ts';
import type { Ingests, RunningIngest } from '../port.ts';
import {
  PROVISIONAL_BATCHES_MAX_BYTES,
  PROVISIONAL_ENDED_MS,
  PROVISIONAL_SESSIONS_MAX,
  PROVISIONAL_WAITERS_MAX,
  PROVISIONAL_WAIT_MS,
} from './constants.ts';
import type { ProvisionalMetrics } from './metrics.ts';

export type ProvisionalOptions = {
  waitMs?: number;
  waitersMax?: number;
  /** Any clock that does not run back. */
  now?: () => number;
};

export type ProvisionalModules = {
  ingests: Ingests;
  signingKey: () => SigningKey;
  metrics: ProvisionalMetrics;
};

const SESSION_TAG = 'flotilla/provisional-session/v1\0';
const STATES = { stored: 'stored', wrong: 'revoked' } as const;

/** The name of a try to fetch a blob, as agents see it. */
function sessionOf({ session, digest }: RunningIngest): Buffer {
  const hash = createHash('sha256').update(SESSION_TAG).update(`${digest} ${session}`).digest();
  return hash.subarray(0, SESSION_BYTES);
}

/**
 * What the hub says of blobs that it is still fetching: leaves as they come, signed, and how it
 * ended. Says nothing about rights.
 */
export class Provisional {
  readonly #waitMs: number;
  readonly #waitersMax: number;
  readonly #modules: ProvisionalModules;
  /** By repository and digest: sessions that run, and those that ended a while ago. */
  readonly #known: LRUCache<string, LeafNews>;
  readonly #signed = new LRUCache<string, Buffer>({
    maxSize: PROVISIONAL_BATCHES_MAX_BYTES,
    sizeCalculation: ({ length }) => length,
  });
  #waiters = 0;

  constructor(options: ProvisionalOptions, modules: ProvisionalModules) {
    const { waitMs, waitersMax, now } = options;
    this.#waitMs = waitMs ?? PROVISIONAL_WAIT_MS;
    this.#waitersMax = waitersMax ?? PROVISIONAL_WAITERS_MAX;
    this.#modules = modules;
    this.#known = new LRUCache({
      max: PROVISIONAL_SESSIONS_MAX,
      ...(now === undefined ? {} : { perf: { now } }),
      ttlResolution: 0,
    });
  }

  /** Questions that wait for leaves. */
  get waiters(): number {
    return this.#waiters;
  }

  /**
   * A signed batch of the leaves from `from` on. Without `from` it is that of the first leaf, at
   * once; else it comes when there are leaves to tell, the ingest has ended, or after
   * PROVISIONAL_WAIT_MS. undefined when no ingest runs or has ended a while ago, and none begins.
   * @throws OciError UNAVAILABLE when too many wait; CodedError HELD_ELSEWHERE when another hub
   * goes on with it; the reason of the signal
   */
  async batch(
    repository: Repository,
    digest: Digest,
    from: number | undefined,
    o: { signal?: AbortSignal | undefined },
  ): Promise<Buffer | undefined> {
    const news =
      this.#newsOf(repository, digest) ?? (await this.#startedNews(repository, digest, o));
    if (news === undefined) return undefined;
    news.ingest.want?.();
    if (from !== undefined && !hasNews(news, from)) await this.#wait(news, from, o);
    const state = stateOf(news);
    this.#modules.metrics.batches.inc({ state: state ?? 'none' });
    return state === undefined ? undefined : this.#sign(news.ingest, state, from ?? 0);
  }

  /** Brings the first bytes of a blob here, in case that somebody asks for it in a moment. */
  ahead(repository: Repository, digest: Digest): void {
    this.#modules.ingests.ahead?.(repository, digest);
  }

  /** How far a blob is that is being fetched for this repository; undefined when none is. */
  coming(repository: string, digest: Digest): { size: number; received: number } | undefined {
    return isRepository(repository) ? this.#find(repository, digest) : undefined;
  }

  /**
   * The bytes that are here of such a blob, and those still to come as they come, for one who
   * checks them against its leaves.
   */
  async open(
    repository: Repository,
    digest: Digest,
    o: { signal?: AbortSignal | undefined },
  ): Promise<OpenBlob | undefined> {
    return await this.#find(repository, digest)?.open({ ...o, checksLeaves: true });
  }

  #find(repository: Repository, digest: Digest): RunningIngest | undefined {
    const ingest = this.#modules.ingests.find(repository, digest);
    // What has no chunks is checked as a whole, by everybody.
    return ingest !== undefined && ingest.size > UNCHUNKED_MAX_BYTES ? ingest : undefined;
  }

  /** A new ingest counts more than the end of an earlier one. */
  #newsOf(repository: Repository, digest: Digest): LeafNews | undefined {
    const key = `${repository} ${digest}`;
    const known = this.#known.get(key);
    const ingest = this.#find(repository, digest);
    if (ingest === undefined || ingest.session === known?.ingest.session) return known;
    const news = new LeafNews(ingest);
    this.#known.set(key, news);
    this.#modules.metrics.sessions.inc();
    void this.#keepEnd(key, news);
    return news;
  }

  async #startedNews(
    repository: Repository,
    digest: Digest,
    o: { signal?: AbortSignal | undefined },
  ): Promise<LeafNews | undefined> {
    const { ingests } = this.#modules;
    if (ingests.start === undefined) return undefined;
    using limit = deadline(this.#waitMs, o.signal);
    try {
      await abortable(ingests.start(repository, digest, { signal: limit.signal }), limit.signal);
    } catch (err) {
      o.signal?.throwIfAborted();
      if (hasCode(err, 'HELD_ELSEWHERE')) throw err;
      // Why else it cannot be fetched is told to who asks for the blob itself.
    }
    return this.#newsOf(repository, digest);
  }

  async #keepEnd(key: string, news: LeafNews): Promise<void> {
    await news.ended;
    if (news.outcome === 'wrong') this.#modules.metrics.revoked.inc();
    if (this.#known.peek(key) !== news) return;
    if (news.outcome === 'failed') this.#known.delete(key);
    else this.#known.set(key, news, { ttl: PROVISIONAL_ENDED_MS });
  }

  async #wait(
    news: LeafNews,
    from: number,
    o: { signal?: AbortSignal | undefined },
  ): Promise<void> {
    if (this.#waiters >= this.#waitersMax) {
      throw ociError('UNAVAILABLE', 'too many wait for parts of blobs; try again');
    }
    this.#waiters += 1;
    using limit = deadline(this.#waitMs, o.signal);
    try {
      // oxlint-disable-next-line no-await-in-loop -- one news after the other
      while (!hasNews(news, from)) await news.next(limit.signal);
    } catch (err) {
      o.signal?.throwIfAborted();
      if (!hasCode(err, 'TIMEOUT')) throw err;
    } finally {
      this.#waiters -= 1;
    }
  }

  #sign(ingest: RunningIngest, state: ProvisionalState, from: number): Buffer {
    const { digest, size, provisional: release } = ingest;
    const session = sessionOf(ingest);
    // Of a stored blob the statement tells more, and of a wrong one there is nothing to tell.
    const there = state === 'running' ? ingest.leavesFrom(from) : Buffer.alloc(0);
    const leaves = there.subarray(0, BATCH_LEAVES_MAX * HASH_BYTES);
    // Nothing can be said of leaves that the blob does not have.
    const first = leaves.length === 0 ? 0 : from;
    const key = this.#modules.signingKey();
    const parts = [session.toString('hex'), state, first, leaves.length, key.keyId.toString('hex')];
    const name = parts.join(' ');
    const known = this.#signed.get(name);
    if (known !== undefined) return known;
    const bytes = signBatch({ session, digest, size, state, release, first, leaves }, key);
    this.#signed.set(name, bytes);
    return bytes;
  }
}

function stateOf({ outcome }: LeafNews): ProvisionalState | undefined {
  if (outcome === undefined) return 'running';
  return outcome === 'failed' ? undefined : STATES[outcome];
}

function hasNews(news: LeafNews, from: number): boolean {
  return news.outcome !== undefined || news.ingest.leavesFrom(from).length > 0;
}
