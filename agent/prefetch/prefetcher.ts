import type { PrefetchReport, PrefetchResponse } from '../../proto/hubapi/prefetch.ts';
import { PREFETCH_REASON_MAX_CHARS } from '../../proto/hubapi/constants.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { deadline, sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import {
  ATTEMPTS_MAX,
  CALL_GAP_MAX_MS,
  CALL_GAP_MIN_MS,
  CALL_RETRY_MS,
  CALLS_FAILED_MAX,
  RETRY_BASE_MS,
  RETRY_MAX_MS,
  RIGHTS_FRESH_MS,
  UNTOLD_MAX,
} from './constants.ts';
import type { PrefetchHub } from './ports.ts';
import { ImageTask, type TaskModules } from './task.ts';

type Modules = TaskModules & { hub: PrefetchHub; logger: Logger };

type Current = { task: ImageTask; stop: AbortController; ended: Promise<void> };

const HOPELESS = ['NO_ROOM', 'NO_PLATFORM', 'NOT_THERE', 'NO_IMAGE', 'FULL', 'STORE_FULL'];

/**
 * Brings content here that the hub wants here before anybody asks, one image at a time, and tells
 * the hub how far it is. It calls the hub when that has hinted at work, as long as there is some.
 * Nothing is remembered over a restart: the hub gives the task again, and what is here counts.
 */
export class Prefetcher {
  readonly #now: () => number;
  readonly #retryMs: number;
  readonly #modules: Modules;
  readonly #closing = new AbortController();
  readonly #untold = new Map<string, PrefetchReport>();
  #current: Current | undefined;
  #running: Promise<void> | undefined;
  /** Ends the pause between two calls. */
  #wake: AbortController | undefined;

  constructor(options: { now?: () => number; retryMs?: number }, modules: Modules) {
    this.#now = options.now ?? Date.now;
    this.#retryMs = options.retryMs ?? CALL_RETRY_MS;
    this.#modules = modules;
  }

  /** The hub has something for this node. */
  hint(): void {
    if (this.#closing.signal.aborted) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the agent is stopping'));
    await this.#running;
    await this.#current?.ended;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { hub, logger } = this.#modules;
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const reports = this.#reports();
        const ready = this.#current === undefined;
        const request = { reports, ready, ...this.#renewal() };
        // oxlint-disable-next-line no-await-in-loop -- one call after the other
        const answer = await hub.prefetch(request, { signal });
        failures = 0;
        for (const { id, state } of reports) if (state !== 'running') this.#untold.delete(id);
        const gapMs = this.#obey(answer);
        if (this.#current === undefined && this.#untold.size === 0) return;
        // What has ended meanwhile is told at once.
        // oxlint-disable-next-line no-await-in-loop -- one call after the other
        if (this.#current !== undefined) await this.#pause(gapMs);
      } catch (err) {
        failures += 1;
        if (signal.aborted) return;
        logger.debug({ reason: messageOf(err) }, 'the hub was not told how far prefetch is');
        // What runs goes on; its end is told when the hub hints again.
        if (failures > CALLS_FAILED_MAX && this.#current === undefined) return;
        // oxlint-disable-next-line no-await-in-loop -- one call after the other
        await sleep(this.#retryMs, { signal }).catch(() => undefined);
      }
    }
  }

  /** What the hub has said; the time until the next call. */
  #obey({ stop, task, rights, intervalMs }: PrefetchResponse): number {
    const { logger } = this.#modules;
    if (this.#current !== undefined && stop.includes(this.#current.task.id)) {
      this.#current.stop.abort(new Error('the hub wants it no more'));
    }
    try {
      if (rights !== undefined) this.#current?.task.take(rights);
      if (task !== undefined && this.#current === undefined) {
        const image = new ImageTask(task, this.#modules);
        if (task.rights !== undefined) image.take(task.rights);
        this.#begin(image, task.expiresInMs);
      }
    } catch (err) {
      const reason = messageOf(err);
      logger.warn({ task: task?.id, reason }, 'a task of the hub is of no use');
      if (task !== undefined)
        this.#tell(task.id, 'failed', { doneBytes: 0, totalBytes: 0 }, reason);
    }
    return Math.max(CALL_GAP_MIN_MS, Math.min(intervalMs, CALL_GAP_MAX_MS));
  }

  #begin(task: ImageTask, expiresInMs: number): void {
    const stop = new AbortController();
    const { metrics } = this.#modules;
    metrics.running.inc();
    const told = AbortSignal.any([stop.signal, this.#closing.signal]);
    const ended = this.#work(task, told, expiresInMs).finally(() => {
      metrics.running.dec();
      this.#current = undefined;
      this.#wake?.abort();
    });
    this.#current = { task, stop, ended };
  }

  /** Never rejects. */
  async #work(task: ImageTask, told: AbortSignal, expiresInMs: number): Promise<void> {
    const { metrics, logger } = this.#modules;
    const { id, repository, digest } = task;
    using limit = deadline(expiresInMs, told);
    const { signal } = limit;
    for (let attempt = 1; ; attempt += 1) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
        const bytes = await task.run(signal);
        metrics.images.inc({ result: bytes > 0 ? 'fetched' : 'held' });
        logger.info({ task: id, repository, digest, bytes }, 'an image is here before it is asked');
        return this.#tell(id, 'done', task.progress());
      } catch (err) {
        if (signal.aborted) {
          metrics.images.inc({ result: 'stopped' });
          logger.info({ task: id, repository, digest }, 'an image is not wanted here any more');
          return;
        }
        const reason = messageOf(err);
        if (attempt >= ATTEMPTS_MAX || hasCode(err, ...HOPELESS)) {
          metrics.images.inc({ result: 'failed' });
          logger.warn({ task: id, repository, digest, reason }, 'an image was not brought here');
          return this.#tell(id, 'failed', task.progress(), reason);
        }
        logger.debug({ task: id, reason, attempt }, 'an image is tried again');
      }
      const pause = backoffMs(attempt, { baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS });
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      await sleep(pause, { signal }).catch(() => undefined);
    }
  }

  #tell(
    id: string,
    state: 'done' | 'failed',
    progress: { doneBytes: number; totalBytes: number },
    reason?: string,
  ): void {
    const said = reason === undefined ? {} : { reason: reason.slice(0, PREFETCH_REASON_MAX_CHARS) };
    this.#untold.set(id, { id, state, ...progress, ...said });
    const [oldest = ''] = this.#untold.keys();
    if (this.#untold.size > UNTOLD_MAX) this.#untold.delete(oldest);
  }

  #reports(): PrefetchReport[] {
    const ended = [...this.#untold.values()];
    const task = this.#current?.task;
    if (task === undefined) return ended;
    return [...ended, { id: task.id, state: 'running', ...task.progress() }];
  }

  #renewal(): { renew?: string } {
    const task = this.#current?.task;
    const isDue = task !== undefined && task.rightsEndMs - this.#now() < RIGHTS_FRESH_MS;
    return isDue ? { renew: task.id } : {};
  }

  /** Until the next call; no longer than what runs now. */
  async #pause(ms: number): Promise<void> {
    this.#wake = new AbortController();
    const signal = AbortSignal.any([this.#wake.signal, this.#closing.signal]);
    await sleep(ms, { signal }).catch(() => undefined);
  }
}
