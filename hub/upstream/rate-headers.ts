import type { Allowance } from './budget-store.ts';
import {
  PULL_WINDOW_MAX_MS,
  PULLS_TOLD_MAX,
  RATE_SOURCE_MAX_CHARS,
  RETRY_AFTER_MAX_MS,
} from './constants.ts';

type Headers = (name: string) => string;

/** What an answer says of the pulls that are left. */
export type RateTold = {
  allowance: Allowance;
  left: number;
  /** Whose pulls are counted together; undefined when it is not said. */
  source: string | undefined;
};

/** Seconds since 1970 that no wait is as long as. */
const EPOCH_SECONDS_MIN = 1_000_000_000;
const COUNT = /^\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,9})\s*)?(?:[;,]|$)/;

/**
 * Reads `ratelimit-limit` and `ratelimit-remaining` (`100;w=21600`) and `docker-ratelimit-source`.
 * Where the window is not in them it is that of `ratelimit-reset`. undefined: nothing is told.
 */
export function rateOf(header: Headers): RateTold | undefined {
  const limit = COUNT.exec(header('ratelimit-limit'));
  const remaining = COUNT.exec(header('ratelimit-remaining'));
  if (limit === null || remaining === null) return undefined;
  const reset = COUNT.exec(header('ratelimit-reset'))?.[1];
  const windowMs = Number(limit[2] ?? remaining[2] ?? reset ?? 0) * 1000;
  const pulls = Number(limit[1]);
  const isMeant = pulls > 0 && pulls <= PULLS_TOLD_MAX && windowMs > 0;
  if (!isMeant || windowMs > PULL_WINDOW_MAX_MS) return undefined;
  const source = header('docker-ratelimit-source').trim();
  const isSource = source.length <= RATE_SOURCE_MAX_CHARS && /^[\x21-\x7e]+$/.test(source);
  return {
    allowance: { limit: pulls, windowMs },
    left: Math.min(Number(remaining[1]), pulls),
    source: isSource ? source : undefined,
  };
}

/**
 * ms that `Retry-After` tells to wait: seconds or a date (RFC 9110 section 10.2.3), or, as some
 * write it, seconds since 1970. At least a second; undefined when it tells nothing.
 */
export function retryAfterOf(header: Headers, now: number): number | undefined {
  const text = header('retry-after').trim();
  if (text === '') return undefined;
  const seconds = /^\d{1,12}$/.test(text) ? Number(text) : undefined;
  const atMs = seconds === undefined ? Date.parse(text) : seconds * 1000;
  if (Number.isNaN(atMs)) return undefined;
  const isWait = seconds !== undefined && seconds < EPOCH_SECONDS_MIN;
  return Math.min(Math.max(isWait ? atMs : atMs - now, 1000), RETRY_AFTER_MAX_MS);
}
