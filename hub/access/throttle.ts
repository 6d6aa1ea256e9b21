import { isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import {
  ACCOUNT_FAILURES_BURST,
  ACCOUNT_FAILURE_MS,
  ADDRESS_FAILURES_BURST,
  ADDRESS_FAILURE_MS,
  THROTTLED_ACCOUNTS_MAX,
  THROTTLED_ADDRESSES_MAX,
  TRUSTED_PAIRS_MAX,
} from './constants.ts';
import { AccessError } from './errors.ts';

/** Failures that may come at once, and how long it takes until one more may. */
type Rate = { burst: number; everyMs: number };
type Bucket = { left: number; atMs: number };

const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.)/;

/** Counts failures by name. The one not heard of for longest is forgotten first. */
class Buckets {
  readonly #rate: Rate;
  readonly #buckets: LRUCache<string, Bucket>;

  constructor(options: Rate & { max: number }) {
    this.#rate = options;
    this.#buckets = new LRUCache({ max: options.max });
  }

  /** Milliseconds until there is room for a failure; 0 when there is. */
  waitMs(name: string, nowMs: number): number {
    const left = this.#left(name, nowMs);
    return left >= 1 ? 0 : Math.ceil((1 - left) * this.#rate.everyMs);
  }

  add(name: string, amount: number, nowMs: number): void {
    const left = Math.min(this.#rate.burst, this.#left(name, nowMs) + amount);
    this.#buckets.set(name, { left, atMs: nowMs });
  }

  #left(name: string, nowMs: number): number {
    const { burst, everyMs } = this.#rate;
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) return burst;
    const gained = Math.max(0, nowMs - bucket.atMs) / everyMs;
    return Math.min(burst, bucket.left + gained);
  }
}

/**
 * Slows down whoever guesses passwords, by address and by account. Nobody is locked out for good:
 * room comes back with time, whatever is tried meanwhile; an address from which an account has
 * logged in is not slowed down by what others try; and the hub's own machine neither.
 */
export class LoginThrottle {
  readonly #addresses = new Buckets({
    burst: ADDRESS_FAILURES_BURST,
    everyMs: ADDRESS_FAILURE_MS,
    max: THROTTLED_ADDRESSES_MAX,
  });
  readonly #accounts = new Buckets({
    burst: ACCOUNT_FAILURES_BURST,
    everyMs: ACCOUNT_FAILURE_MS,
    max: THROTTLED_ACCOUNTS_MAX,
  });
  readonly #trusted = new LRUCache<string, true>({ max: TRUSTED_PAIRS_MAX });
  readonly #now: () => number;

  constructor(options: { now: () => number }) {
    this.#now = options.now;
  }

  /**
   * Tries a login. It counts as failed from its beginning, so that many at once gain nothing.
   * @throws AccessError THROTTLED with the time to wait, without a try; whatever `attempt` throws
   */
  async run(
    who: { user: string; address: string },
    attempt: () => Promise<boolean>,
  ): Promise<boolean> {
    const nowMs = this.#now();
    const address = networkOf(who.address);
    const pair = `${address} ${who.user}`;
    const exempt = this.#trusted.has(pair) || LOOPBACK.test(who.address);
    const waitMs = Math.max(
      this.#addresses.waitMs(address, nowMs),
      exempt ? 0 : this.#accounts.waitMs(who.user, nowMs),
    );
    if (waitMs > 0) {
      const message = `too many wrong passwords; try again in ${Math.ceil(waitMs / 1000)} s`;
      throw new AccessError(message, { code: 'THROTTLED', waitMs });
    }
    const count = (amount: number): void => {
      this.#addresses.add(address, amount, nowMs);
      if (!exempt) this.#accounts.add(who.user, amount, nowMs);
    };
    count(-1);
    let failed = false;
    try {
      failed = !(await attempt());
    } finally {
      if (!failed) count(1);
    }
    if (!failed) this.#trusted.set(pair, true);
    return !failed;
  }
}

/** Who has one address of IPv6 has the network of 64 bits. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = '', tail] = address.toLowerCase().split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...Array.from({ length: gap }, () => '0'), ...back];
  return groups.slice(0, 4).join(':');
}
