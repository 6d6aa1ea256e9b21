import { randomUUID } from 'node:crypto';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { sleep } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { BlobRemover } from '../blobs/port.ts';
import { GC_BATCH, GC_LEASE_MS, GC_REST, GC_REST_MAX_MS } from './constants.ts';
import { GcError } from './errors.ts';
import type { GcMetrics } from './metrics.ts';
import type {
  Due,
  GcCounts,
  GcRun,
  GcStore,
  IdleBlob,
  LinkFate,
  UnusedLink,
  UntaggedManifest,
} from './store.ts';

type Unused = UnusedLink & { used: boolean; size: number };
type Untagged = UntaggedManifest & { used: boolean; size: number };

export type CollectorOptions = {
  /** A blob that nobody uses is left alone for this long. */
  graceMs: number;
  /** Bytes of a blob that was collected are kept for this long. */
  quarantineMs: number;
  /** A manifest that nothing reaches is deleted after this long; undefined: never. */
  untaggedMs?: number | undefined;
  now?: () => number;
};

type Modules = {
  store: GcStore;
  blobs: BlobRemover;
  metrics: GcMetrics;
  logger: Logger;
};

export type CollectWish = {
  /** Not when another one began within this time. */
  unlessWithinMs?: number;
  /** Told the id of the collection once it has begun. */
  begun?: (id: string) => void;
};

/**
 * Collects manifests that nothing reaches, if it is to, and blobs that no manifest names, while
 * pushes and pulls go on. Every step is a condition
 * in the catalog, so that a push finds a blob gone and sends it, or the collector finds it in use.
 * Killed at any moment, the next collection goes on.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #modules: Modules;
  readonly #now: () => number;
  readonly #holder: string = randomUUID();
  /** When this batch began. */
  #restedMs = 0;

  constructor(options: CollectorOptions, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Collects once, if no other hub does and none began one within `unlessWithinMs`; undefined
   * otherwise. The cost follows what is unused, not what is stored.
   */
  async collect(
    wish: CollectWish,
    { signal }: { signal: AbortSignal },
  ): Promise<GcCounts | undefined> {
    const { store, metrics, logger } = this.#modules;
    const nowMs = this.#now();
    const holder = this.#holder;
    const dueMs = nowMs - (wish.unlessWithinMs ?? 0);
    const claim = await store.take({ holder, nowMs, untilMs: nowMs + GC_LEASE_MS, dueMs });
    if (claim === undefined) return undefined;
    const run = { id: randomUUID(), begunMs: nowMs };
    const started = performance.now();
    this.#restedMs = started;
    const report = noCounts();
    let result: GcRun['result'] = 'failed';
    try {
      await store.noteRun({ ...run, result: 'running', report: report });
      wish.begun?.(run.id);
      await this.#collectManifests(report, signal);
      await this.#collectLinks(report, signal);
      await this.#removeBlobs(report, claim, signal);
      await store.forgetLinks(nowMs - this.#options.quarantineMs - this.#options.graceMs);
      result = 'ok';
      metrics.lastEnd.set(this.#now() / 1000);
    } catch (err) {
      if (signal.aborted) result = 'stopped';
      throw err;
    } finally {
      metrics.runs.inc({ result });
      metrics.lastSeconds.set((performance.now() - started) / 1000);
      const endedMs = this.#now();
      await store.noteRun({ ...run, endedMs, result, report: report }).catch(() => {});
      await store.release(holder).catch(() => undefined);
    }
    logger.info(report, 'blobs collected');
    return report;
  }

  /**
   * Takes a blob out of quarantine; the repositories that have it again.
   * @throws GcError NOT_IN_QUARANTINE
   */
  async restore(digest: Digest): Promise<string[]> {
    const repositories = await this.#modules.store.restore(digest, this.#now());
    if (repositories === undefined) {
      throw new GcError(`${digest} is not in quarantine`, { code: 'NOT_IN_QUARANTINE', digest });
    }
    this.#modules.metrics.restored.inc();
    this.#modules.logger.info({ digest, repositories }, 'blob taken out of quarantine');
    return repositories;
  }

  /** What only a deleted manifest reached is due with it: once more, until none was deleted. */
  async #collectManifests(report: GcCounts, signal: AbortSignal): Promise<void> {
    const { store, metrics } = this.#modules;
    const nowMs = this.#now();
    const beforeMs = this.#untaggedDueMs(nowMs);
    if (beforeMs === undefined) return;
    for (let before = -1; before < report.manifests;) {
      before = report.manifests;
      for await (const manifests of pages<Untagged>(
        (due) => store.untaggedManifests(due),
        beforeMs,
      )) {
        await this.#goOn(signal);
        for (const fate of await store.settleManifests(manifests, { beforeMs, nowMs })) {
          metrics.manifests.inc({ fate });
          if (fate === 'removed') report.manifests += 1;
        }
      }
    }
  }

  async #collectLinks(report: GcCounts, signal: AbortSignal): Promise<void> {
    const { store } = this.#modules;
    const nowMs = this.#now();
    const beforeMs = this.#linkDueMs(nowMs);
    for await (const links of pages<Unused>((due) => store.unusedLinks(due), beforeMs)) {
      await this.#goOn(signal);
      report.looked += links.length;
      for (const fate of await store.settleLinks(links, { beforeMs, nowMs })) {
        this.#count(fate, report);
      }
    }
  }

  /**
   * A collection that was taken over while it stood still does no harm: the bytes are named before
   * they are claimed, and what was pushed since has another name; what it forgets is under its own
   * claim.
   */
  async #removeBlobs(report: GcCounts, claim: number, signal: AbortSignal): Promise<void> {
    const { store } = this.#modules;
    const nowMs = this.#now();
    const beforeMs = this.#blobDueMs(nowMs);
    for await (const blobs of pages<IdleBlob>((due) => store.idleBlobs(due), beforeMs)) {
      await this.#goOn(signal);
      const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
      const names = await this.#namesOf(blobs);
      const claimed = await store.claimBlobs(blobs, { claim, beforeMs, nowMs });
      const gone: Digest[] = [];
      for (const digest of claimed) {
        if (await this.#remove(digest, names)) gone.push(digest);
      }
      report.failed += claimed.length - gone.length;
      await store.unclaimBlobs(
        claimed.filter((digest) => !gone.includes(digest)),
        claim,
      );
      await store.forgetBlobs(gone, claim);
      report.deleted += gone.length;
      for (const digest of gone) {
        const size = sizes.get(digest) ?? 0;
        report.deletedBytes += size;
        this.#modules.metrics.deleted.inc();
        this.#modules.metrics.deletedBytes.inc(size);
      }
    }
  }

  /** Undefined for a store that this process has to itself. */
  async #namesOf(blobs: readonly IdleBlob[]): Promise<Map<Digest, string> | undefined> {
    const store = this.#modules.blobs;
    if (store.nameOf === undefined) return undefined;
    const names = new Map<Digest, string>();
    for (const { digest } of blobs) {
      const name = await store.nameOf(digest);
      if (name !== undefined) names.set(digest, name);
    }
    return names;
  }

  async #remove(digest: Digest, names: Map<Digest, string> | undefined): Promise<boolean> {
    const { blobs, metrics, logger } = this.#modules;
    const name = names?.get(digest);
    try {
      // Without a name there was nothing to remove, and what is there now came later.
      if (names === undefined || name !== undefined) await blobs.remove(digest, name);
      return true;
    } catch (err) {
      metrics.failures.inc();
      logger.warn({ digest, reason: messageOf(err) }, 'bytes of an unused blob were not removed');
      return false;
    }
  }

  /** @throws what the signal says; GcError LEASE_LOST */
  async #goOn(signal: AbortSignal): Promise<void> {
    // The disk and the database are for pushes and pulls first.
    const workedMs = performance.now() - this.#restedMs;
    await sleep(Math.min(GC_REST * workedMs, GC_REST_MAX_MS), { signal });
    this.#restedMs = performance.now();
    const lease = { holder: this.#holder, untilMs: this.#now() + GC_LEASE_MS };
    if (await this.#modules.store.keep(lease)) return;
    throw new GcError('another hub has taken over the collection', { code: 'LEASE_LOST' });
  }

  #count({ fate, quarantined }: LinkFate, report: GcCounts): void {
    const { metrics } = this.#modules;
    metrics.links.inc({ fate });
    if (fate === 'removed') report.unlinked += 1;
    if (quarantined === undefined) return;
    report.quarantined += 1;
    report.quarantinedBytes += quarantined;
    metrics.quarantined.inc();
    metrics.quarantinedBytes.inc(quarantined);
  }

  #untaggedDueMs(nowMs: number): number | undefined {
    const { untaggedMs } = this.#options;
    return untaggedMs === undefined ? undefined : nowMs - untaggedMs;
  }

  #linkDueMs(nowMs: number): number {
    return nowMs - this.#options.graceMs;
  }

  #blobDueMs(nowMs: number): number {
    return nowMs - this.#options.quarantineMs;
  }
}

function noCounts(): GcCounts {
  const counts = { manifests: 0, looked: 0, unlinked: 0, quarantined: 0, quarantinedBytes: 0 };
  return { ...counts, deleted: 0, deletedBytes: 0, failed: 0 };
}

/** Batch after batch; what stays where it is is not read twice. */
async function* pages<T>(
  read: (due: Due<T>) => Promise<T[]>,
  beforeMs: number,
): AsyncGenerator<T[]> {
  for (let after: T | undefined; ;) {
    const batch = await read({ beforeMs, max: GC_BATCH, after });
    if (batch.length > 0) yield batch;
    if (batch.length < GC_BATCH) return;
    after = batch.at(-1);
  }
}
