import { setTimeout as delay } from 'node:timers/promises';
import { TIMER_MAX_MS } from './constants.ts';
import { CodedError } from './errors.ts';

/** Waits `ms`, however long. Rejects with the reason of the signal when it aborts first. */
export async function sleep(
  ms: number,
  options?: { signal?: AbortSignal | undefined },
): Promise<void> {
  const { signal } = options ?? {};
  signal?.throwIfAborted();
  try {
    for (let left = ms; ; left -= TIMER_MAX_MS) {
      // oxlint-disable-next-line no-await-in-loop -- one timer after the other
      await delay(Math.min(left, TIMER_MAX_MS), undefined, signal ? { signal } : {});
      if (!(left > TIMER_MAX_MS)) return;
    }
  } catch (err) {
    signal?.throwIfAborted();
    throw err;
  }
}

/**
 * A signal that aborts after `ms` with CodedError TIMEOUT, or earlier with the given signal and
 * its reason. Disposing clears the timer. Beyond what a timer can count it counts that long.
 */
export function deadline(ms: number, signal?: AbortSignal): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(
    () => {
      controller.abort(new CodedError(`no result within ${ms} ms`, { code: 'TIMEOUT' }));
    },
    Math.min(ms, TIMER_MAX_MS),
  );
  const onAbort = (): void => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}

/** The promise, or a rejection with the reason of the signal. The work itself is not stopped. */
export function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  const { promise: raced, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  return raced;
}
