import { LRUCache } from 'lru-cache';
import { networkOf } from '../fleet/address-policy.ts';
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
import type { Charge, LoginStore, Rate } from './login-store.ts';
import { SharedCount } from './shared-count.ts';

type Bucket = { left: number; atMs: number };

const ADDRESS_RATE = { burst: ADDRESS_FAILURES_BURST, everyMs: ADDRESS_FAILURE_MS };
const ACCOUNT_RATE = { burst: ACCOUNT_FAILURES_BURST, everyMs: ACCOUNT_FAILURE_MS };
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
 * Slows down whoever guesses passwords, by address and by account, at all hubs that share a catalog
 * together. Nobody is locked out for good: room comes back with time, whatever is tried meanwhile;
 * an address from which an account has logged in is not slowed down by what others try; and the
 * hub's own machine neither.
 */
export class LoginThrottle {
  readonly #addresses = new Buckets({ ...ADDRESS_RATE, max: THROTTLED_ADDRESSES_MAX });
  readonly #accounts = new Buckets({ ...ACCOUNT_RATE, max: THROTTLED_ACCOUNTS_MAX });
  readonly #trusted = new LRUCache<string, true>({ max: TRUSTED_PAIRS_MAX });
  readonly #now: () => number;
  readonly #shared: SharedCount | undefined;

  /** `store`: where other hubs count too; absent when there are none. */
  constructor(options: { now: () => number }, modules: { store?: LoginStore | undefined } = {}) {
    this.#now = options.now;
    const { store } = modules;
    this.#shared = store && new SharedCount({ store });
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
    const exempt = await this.#isExempt(pair, who, nowMs);
    refuse(
      Math.max(
        this.#addresses.waitMs(address, nowMs),
        exempt ? 0 : this.#accounts.waitMs(who.user, nowMs),
      ),
    );
    const count = (amount: number): void => {
      this.#addresses.add(address, amount, nowMs);
      if (!exempt) this.#accounts.add(who.user, amount, nowMs);
    };
    count(-1);
    let succeeded: boolean | undefined;
    let takeBack: ((pair: string | undefined) => Promise<void>) | undefined;
    try {
      takeBack = await this.#charge({ address, user: exempt ? undefined : who.user, pair });
      succeeded = await attempt();
    } finally {
      if (succeeded !== false) {
        count(1);
        await takeBack?.(succeeded ? pair : undefined);
      }
    }
    if (succeeded) this.#trusted.set(pair, true);
    return succeeded;
  }

  async #isExempt(
    pair: string,
    { user, address }: { user: string; address: string },
    nowMs: number,
  ): Promise<boolean> {
    if (this.#trusted.has(pair) || LOOPBACK.test(address)) return true;
    if (this.#shared === undefined || this.#accounts.waitMs(user, nowMs) === 0) return false;
    return this.#shared.isTrusted(pair);
  }

  /**
   * Counts a failure for all hubs; what takes it back.
   * @throws AccessError THROTTLED
   */
  async #charge(who: {
    address: string;
    user: string | undefined;
    pair: string;
  }): Promise<((pair: string | undefined) => Promise<void>) | undefined> {
    const shared = this.#shared;
    if (shared === undefined) return undefined;
    const from: Charge = { name: `address ${who.address}`, rate: ADDRESS_RATE };
    const account: Charge = { name: `account ${who.user}`, rate: ACCOUNT_RATE };
    let charges = who.user === undefined ? [from] : [from, account];
    let answer = await shared.charge(charges);
    if (typeof answer === 'object' && answer.name === account.name) {
      if (await shared.isTrusted(who.pair)) {
        charges = [from];
        answer = await shared.charge(charges);
      }
    }
    if (typeof answer === 'object') refuse(answer.waitMs);
    return answer === 'counted' ? (pair) => shared.refund(charges, pair) : undefined;
  }
}

/** @throws AccessError THROTTLED unless there is nothing to wait for */
function refuse(waitMs: number): void {
  if (waitMs <= 0) return;
  const message = `too many wrong passwords; try again in ${Math.ceil(waitMs / 1000)} s`;
  throw new AccessError(message, { code: 'THROTTLED', waitMs });
}
