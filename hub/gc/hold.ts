import { randomUUID } from 'node:crypto';
import { hasCode } from '../../proto/std/errors.ts';
import { GC_HOLD_MS, GC_HOLD_RENEW_MS } from './constants.ts';
import { GcError } from './errors.ts';
import type { HoldStore } from './store.ts';

/**
 * Runs `work` while no hub that shares the catalog removes bytes of blobs, for who copies them:
 * what the catalog has as live when `work` begins, or later, keeps its bytes until it ends. Only
 * content that is taken down goes. The signal of `work` aborts when that is no longer certain.
 * @throws GcError HOLD_LOST; what `work` and the catalog throw
 */
export async function whileHoldingRemovals<T>(
  work: (options: { signal: AbortSignal }) => Promise<T>,
  modules: { store: HoldStore; now?: () => number },
  options: { signal: AbortSignal },
): Promise<T> {
  const { store, now = Date.now } = modules;
  const id = randomUUID();
  const lost = new AbortController();
  const start = now();
  let untilMs = start + GC_HOLD_MS;
  await store.hold(id, { untilMs, nowMs: start });
  const renew = async (): Promise<void> => {
    const nowMs = now();
    const wishMs = nowMs + GC_HOLD_MS;
    const held = await store.keepHold(id, { untilMs: wishMs, nowMs }).catch(() => undefined);
    if (held === true) untilMs = wishMs;
    // Who renews late for want of an answer still holds until the time that was noted last.
    else if (held === false || now() + GC_HOLD_RENEW_MS > untilMs) lost.abort(holdLost());
  };
  const timer = setInterval(() => void renew(), GC_HOLD_RENEW_MS);
  timer.unref();
  try {
    const result = await work({ signal: AbortSignal.any([options.signal, lost.signal]) });
    lost.signal.throwIfAborted();
    return result;
  } catch (err) {
    if (lost.signal.aborted && !hasCode(err, 'HOLD_LOST')) throw holdLost(err);
    throw err;
  } finally {
    clearInterval(timer);
    await store.endHold(id).catch(() => undefined);
  }
}

function holdLost(cause?: unknown): GcError {
  const message = 'blobs may have been removed meanwhile: the catalog was away for too long';
  return new GcError(message, { code: 'HOLD_LOST' }, { cause });
}
