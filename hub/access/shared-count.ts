import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { abortable, deadline } from '../../proto/std/abort.ts';
import {
  LOGIN_STORE_CALLS_MAX,
  LOGIN_STORE_PAUSE_MS,
  LOGIN_STORE_TIMEOUT_MS,
  THROTTLED_ACCOUNTS_MAX,
  TRUST_LIFE_MS,
  TRUST_LOOK_MS,
  TRUSTED_PAIRS_MAX,
} from './constants.ts';
import type { Charge, Full, LoginStore } from './login-store.ts';

const CODE_CHARS = 32;

/**
 * The count of failed logins that all hubs share. It never keeps a login waiting for long: when the
 * catalog is slow or away it says nothing for a while, and each hub goes by its own count.
 */
export class SharedCount {
  readonly #store: LoginStore;
  /** Until when there is no room, so that who goes on guessing does not burden the catalog. */
  readonly #full = new LRUCache<string, number>({ max: THROTTLED_ACCOUNTS_MAX });
  /** Pairs looked up of late. */
  readonly #looked = new LRUCache<string, boolean>({ max: TRUSTED_PAIRS_MAX, ttl: TRUST_LOOK_MS });
  /** Pairs whose trust was stored of late. */
  readonly #stored = new LRUCache<string, true>({
    max: TRUSTED_PAIRS_MAX,
    ttl: TRUST_LIFE_MS / 2,
  });
  #calls = 0;
  #pausedUntilMs = 0;

  constructor(modules: { store: LoginStore }) {
    this.#store = modules.store;
  }

  /** Counts a failure, unless one of the names is full; 'unknown' when nobody can say. */
  async charge(charges: readonly Charge[]): Promise<'counted' | 'unknown' | Full> {
    const nowMs = performance.now();
    for (const { name } of charges) {
      const leftMs = (this.#full.get(name) ?? 0) - nowMs;
      if (leftMs > 0) return { name, waitMs: Math.ceil(leftMs) };
    }
    const answer = await this.#ask(async (store, limit) => {
      const full = await store.charge(charges.map(coded));
      // Nobody waited for it: this hub counted for itself, and nobody would take it back.
      if (limit.aborted && full === undefined) await store.refund(charges.map(coded));
      return { full };
    });
    if (answer === undefined) return 'unknown';
    if (answer.full === undefined) return 'counted';
    const { name: code, waitMs } = answer.full;
    const name = charges.find((one) => codeOf(one.name) === code)?.name ?? '';
    this.#full.set(name, nowMs + waitMs);
    return { name, waitMs };
  }

  /** Takes it back; the pair of a login that succeeded is trusted by all hubs then. */
  async refund(charges: readonly Charge[], pair: string | undefined): Promise<void> {
    const isNew = pair !== undefined && !this.#stored.has(pair);
    const trusted = isNew ? { pair: codeOf(pair), lifeMs: TRUST_LIFE_MS } : undefined;
    const work = async (store: LoginStore): Promise<true> => {
      await store.refund(charges.map(coded), trusted);
      return true;
    };
    const done = await this.#ask(work, { owed: true });
    if (done && pair !== undefined) this.#stored.set(pair, true);
  }

  /** Whether the account has logged in from that address at any hub. */
  async isTrusted(pair: string): Promise<boolean> {
    const looked = this.#looked.get(pair);
    if (looked !== undefined) return looked;
    const isTrusted = await this.#ask((store) => store.isTrusted(codeOf(pair)));
    if (isTrusted !== undefined) this.#looked.set(pair, isTrusted);
    return isTrusted ?? false;
  }

  /** What is `owed` is done in any case; nobody waits for it when the catalog is slow or busy. */
  async #ask<Answer>(
    work: (store: LoginStore, limit: AbortSignal) => Promise<Answer>,
    { owed = false } = {},
  ): Promise<Answer | undefined> {
    const isBusy = this.#calls >= LOGIN_STORE_CALLS_MAX;
    const isAway = isBusy || performance.now() < this.#pausedUntilMs;
    if (isAway && !owed) return undefined;
    this.#calls += 1;
    using limit = deadline(LOGIN_STORE_TIMEOUT_MS);
    const running = work(this.#store, limit.signal).finally(() => (this.#calls -= 1));
    if (isAway) {
      running.catch(() => undefined);
      return undefined;
    }
    try {
      return await abortable(running, limit.signal);
    } catch {
      this.#pausedUntilMs = performance.now() + LOGIN_STORE_PAUSE_MS;
      return undefined;
    }
  }
}

function coded({ name, rate }: Charge): Charge {
  return { name: codeOf(name), rate };
}

function codeOf(name: string): string {
  return hash('sha256', `flotilla/login/v1\0${name}`, 'hex').slice(0, CODE_CHARS);
}
