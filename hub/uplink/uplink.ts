import { SLICE_WAIT_MAX_MS } from './constants.ts';
import { FairOrder, type Waiting } from './fair-order.ts';
import type { UplinkMetrics } from './metrics.ts';
import { Pace } from './pace.ts';
import { Readers } from './readers.ts';

/** Whose bytes they are. Repositories share the link evenly, in them blobs, in those callers. */
export type UplinkFlow = { repository: string; digest: string; caller: string };

/** One body on its way out. Disposing it ends that. */
export interface UplinkBody extends Disposable {
  /**
   * The turn to write so many bytes; undefined: it is now. Rejects with the reason of the signal.
   */
  turn(bytes: number, signal: AbortSignal): Promise<void> | undefined;
}

type Slice = Waiting & { sinceMs: number; go: () => void };

/**
 * The link of the hub. Slices of bodies take turns when they are more than it carries, so that one
 * model on five hundred nodes leaves a small image its share. Where its rate is not known nothing
 * waits: sockets tell too late that the link is full.
 */
export class Uplink {
  readonly #readers = new Readers();
  readonly #order = new FairOrder<Slice>({ weightOf: (name) => this.#readers.weightOf(name) });
  /** In the order they came. */
  readonly #waiting = new Set<Slice>();
  readonly #pace: Pace | undefined;
  readonly #metrics: UplinkMetrics;
  readonly #waitMaxMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** `bytesPerSecond` of the link; undefined: not known. */
  constructor(
    options: { bytesPerSecond: number | undefined; waitMaxMs?: number },
    modules: { metrics: UplinkMetrics },
  ) {
    const { bytesPerSecond, waitMaxMs = SLICE_WAIT_MAX_MS } = options;
    this.#pace = bytesPerSecond === undefined ? undefined : new Pace({ bytesPerSecond });
    this.#waitMaxMs = waitMaxMs;
    this.#metrics = modules.metrics;
    this.#metrics.rate.set(bytesPerSecond ?? 0);
  }

  /** Begins a body. */
  enter({ repository, digest, caller }: UplinkFlow): UplinkBody {
    const path = [repository, digest, caller];
    this.#readers.enter(caller, repository);
    let open = true;
    return {
      turn: (bytes, signal) => this.#turn({ path, bytes }, signal),
      [Symbol.dispose]: () => {
        if (open) this.#readers.leave(caller, repository);
        open = false;
      },
    };
  }

  #turn({ path, bytes }: Waiting, signal: AbortSignal): Promise<void> | undefined {
    const nowMs = performance.now();
    const isFree = this.#waiting.size === 0 && (this.#pace?.waitMs(nowMs) ?? 0) === 0;
    if (this.#pace === undefined) {
      this.#metrics.bytes.inc({ way: 'free' }, bytes);
      return undefined;
    }
    const slice: Slice = { path, bytes, sinceMs: nowMs, go: () => {} };
    this.#order.push(slice);
    if (!isFree) return this.#wait(slice, signal);
    this.#order.take(slice);
    this.#pace.sends(bytes, nowMs);
    this.#metrics.bytes.inc({ way: 'free' }, bytes);
    return undefined;
  }

  async #wait(slice: Slice, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      this.#order.remove(slice);
      this.#left(slice);
      reject(signal.reason);
    };
    slice.go = resolve;
    this.#waiting.add(slice);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    this.#serve();
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Lets slices go as long as the pace has room for them. */
  #serve(): void {
    for (let [oldest] = this.#waiting; oldest !== undefined; [oldest] = this.#waiting) {
      const nowMs = performance.now();
      const lateInMs = oldest.sinceMs + this.#waitMaxMs - nowMs;
      const waitMs = Math.min(this.#pace?.waitMs(nowMs) ?? 0, lateInMs);
      if (waitMs > 0) {
        this.#serveIn(waitMs);
        break;
      }
      if (lateInMs <= 0) this.#order.take(oldest);
      const next = lateInMs <= 0 ? oldest : this.#order.pop();
      if (next === undefined) break;
      this.#pace?.sends(next.bytes, nowMs);
      this.#left(next);
      this.#metrics.bytes.inc({ way: 'queued' }, next.bytes);
      this.#metrics.wait.observe((nowMs - next.sinceMs) / 1000);
      next.go();
    }
    this.#show();
  }

  #serveIn(waitMs: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#serve();
    }, Math.ceil(waitMs));
  }

  #left(slice: Slice): void {
    this.#waiting.delete(slice);
    if (this.#waiting.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    this.#show();
  }

  #show(): void {
    this.#metrics.slices.set(this.#order.size);
    this.#metrics.flows.set(this.#order.groups);
  }
}
