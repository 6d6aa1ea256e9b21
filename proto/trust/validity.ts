import { TrustError } from './errors.ts';

/** How far two clocks of a fleet may differ, in ms. */
export const CLOCK_SKEW_MS = 5 * 60_000;

/**
 * Checks a time window, widened by the clock skew on both ends and by `graceMs` on the late one
 * (an outage of the hub).
 * @throws TrustError NOT_YET_VALID, EXPIRED
 */
export function checkValidity(
  what: string,
  window: { notBeforeMs: number; notAfterMs: number },
  clock: { nowMs: number; graceMs?: number | undefined },
): void {
  if (clock.nowMs < window.notBeforeMs - CLOCK_SKEW_MS) {
    const ahead = window.notBeforeMs - clock.nowMs;
    throw new TrustError(`${what} becomes valid in ${ahead} ms; check both clocks`, {
      code: 'NOT_YET_VALID',
    });
  }
  if (clock.nowMs > window.notAfterMs + CLOCK_SKEW_MS + (clock.graceMs ?? 0)) {
    throw new TrustError(`${what} expired ${clock.nowMs - window.notAfterMs} ms ago`, {
      code: 'EXPIRED',
    });
  }
}
