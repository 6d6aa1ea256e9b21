import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { deadline, sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { ANNOUNCE_DOWNLOADS_MAX } from '../../proto/hubapi/constants.ts';
import type { StoredBlob } from '../store/port.ts';
import {
  ANNOUNCE_ACTIVE_MS,
  ANNOUNCE_FULL_MS,
  ANNOUNCE_RETRY_MAX_MS,
  ANNOUNCE_RETRY_MIN_MS,
  ANNOUNCE_SPACING_MS,
  ANNOUNCE_TIMEOUT_MS,
} from './constants.ts';
import type { AnnounceItem, AnnounceResult, FleetClient } from './ports.ts';

/** A download that the tracker is told about all the time. */
export interface Announced {
  readonly digest: Digest;
  item(): AnnounceItem;
  answered(result: AnnounceResult): void;
  /** The tracker could not be asked. */
  unanswered(): void;
}

export type AnnouncerModules = {
  fleet: Pick<FleetClient, 'announce'>;
  /** What this node reads a repository with that not everybody may read. */
  tokenFor?: (namespace: string, repository: string) => string | undefined;
  /** Stored blobs, most recently used first. */
  stored: () => Iterable<StoredBlob>;
  logger: Logger;
};

/**
 * Tells the tracker what this node fetches, as often as the tracker wants to hear it and when
 * there is news, but not more often than ANNOUNCE_SPACING_MS; and every ANNOUNCE_FULL_MS all it
 * holds. One request at a time for all downloads together.
 */
export class Announcer {
  readonly #active = new Map<Digest, Announced>();
  readonly #modules: AnnouncerModules;
  readonly #stop = new AbortController();
  #nudge = new AbortController();
  /** What ended since the last announcement, for a last word on it. */
  #finished: AnnounceItem[] = [];
  #failures = 0;
  #fullDueMs = 0;
  /** When the tracker wants to hear of what is fetched again. */
  #paceMs = ANNOUNCE_ACTIVE_MS;
  #running: Promise<void> | undefined;

  constructor(modules: AnnouncerModules) {
    this.#modules = modules;
  }

  /** Begins the announcements; without it nothing is ever sent. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Announces at once and then regularly, until disposed. Bounded by DOWNLOADS_MAX. */
  track(announced: Announced): Disposable {
    this.#active.set(announced.digest, announced);
    this.nudge();
    return {
      [Symbol.dispose]: () => {
        if (this.#active.get(announced.digest) !== announced) return;
        this.#active.delete(announced.digest);
        this.#keepLast(announced.item());
        this.nudge();
      },
    };
  }

  /** Says once what is held, as soon as spacing allows; later it is in every full announcement. */
  tell(item: AnnounceItem): void {
    this.#keepLast(item);
    this.nudge();
  }

  /** There is news; announce as soon as spacing allows, unless the hub does not answer. */
  nudge(): void {
    if (this.#failures === 0) this.#nudge.abort(new Error('news'));
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the agent is stopping'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#announce(signal);
        await sleep(ANNOUNCE_SPACING_MS, { signal });
        await this.#pause(signal);
      } catch (err) {
        if (signal.aborted) return;
        this.#modules.logger.error({ err }, 'announcing failed');
        // What fails at once must not be tried without end in one turn of the event loop.
        await sleep(ANNOUNCE_RETRY_MIN_MS, { signal }).catch(() => {});
      }
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const untilFull = Math.max(0, this.#fullDueMs - performance.now());
    let ms = this.#active.size > 0 ? Math.min(this.#paceMs, untilFull) : untilFull;
    if (this.#failures > 0) {
      const range = { baseMs: ANNOUNCE_RETRY_MIN_MS, maxMs: ANNOUNCE_RETRY_MAX_MS };
      ms = ANNOUNCE_RETRY_MIN_MS + backoffMs(this.#failures, range);
    }
    ms = Math.max(0, ms - ANNOUNCE_SPACING_MS);
    try {
      await sleep(ms, { signal: AbortSignal.any([signal, this.#nudge.signal]) });
    } catch {
      signal.throwIfAborted();
    }
  }

  async #announce(signal: AbortSignal): Promise<void> {
    this.#nudge = new AbortController();
    const now = performance.now();
    const full = now >= this.#fullDueMs;
    const asked = [...this.#active.values()].slice(0, ANNOUNCE_DOWNLOADS_MAX);
    const items = [...asked.map((announced) => announced.item()), ...this.#finished];
    items.length = Math.min(items.length, ANNOUNCE_DOWNLOADS_MAX);
    this.#finished = [];
    if (full) this.#addStored(items);
    if (items.length === 0 && !full) return;
    try {
      using limit = deadline(ANNOUNCE_TIMEOUT_MS, signal);
      const shown = items.map((item) => this.#withToken(item));
      const results = await this.#modules.fleet.announce(shown, { signal: limit.signal, full });
      if (full) this.#fullDueMs = now + ANNOUNCE_FULL_MS;
      this.#failures = 0;
      this.#paceMs = paceOf(results.filter(({ digest }) => this.#active.has(digest)));
      for (const result of results) this.#active.get(result.digest)?.answered(result);
    } catch (err) {
      signal.throwIfAborted();
      this.#paceMs = ANNOUNCE_ACTIVE_MS;
      if (full) this.#fullDueMs = now + ANNOUNCE_FULL_MS;
      this.#failures += 1;
      const level = this.#failures === 1 ? 'info' : 'debug';
      this.#modules.logger[level]({ reason: messageOf(err) }, 'the tracker does not answer');
      for (const announced of asked) announced.unanswered();
    }
  }

  #withToken(item: AnnounceItem): AnnounceItem {
    const token = this.#modules.tokenFor?.(item.namespace, item.repository);
    return token === undefined ? item : { ...item, token };
  }

  #keepLast(item: AnnounceItem): void {
    const last = { ...item, hubChunksWanted: 0 };
    if (this.#finished.length < ANNOUNCE_DOWNLOADS_MAX) this.#finished.push(last);
  }

  #addStored(items: AnnounceItem[]): void {
    for (const blob of this.#modules.stored()) {
      if (items.length >= ANNOUNCE_DOWNLOADS_MAX) return;
      if (blob.origin === undefined || !blob.servable || blob.have.count === 0) continue;
      if (items.some((item) => item.digest === blob.digest)) continue;
      const { digest, size, complete, have, origin } = blob;
      items.push({ ...origin, digest, size, complete, have, hubChunksWanted: 0 });
    }
  }
}

/** The shortest time the tracker names, within our own bounds. */
function paceOf(results: readonly AnnounceResult[]): number {
  const wanted = Math.min(...results.map(({ retryAfterMs }) => retryAfterMs));
  const isNamed = Number.isFinite(wanted);
  return isNamed
    ? Math.min(ANNOUNCE_FULL_MS, Math.max(ANNOUNCE_ACTIVE_MS, wanted))
    : ANNOUNCE_ACTIVE_MS;
}
