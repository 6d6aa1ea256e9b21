import { backoffMs } from '../../proto/std/backoff.ts';
import type { Allowance, BudgetRow, BudgetStore, Charge } from './budget-store.ts';
import {
  BUDGET_FORGET_MS,
  BUDGET_KEPT_MS,
  BUDGET_PROBE_MS,
  BUDGET_TELL_MS,
  BUDGET_VIEW_MS,
  REFUSED_BASE_MS,
  REFUSED_MAX_MS,
  SOURCE_CHANGE_MS,
} from './constants.ts';
import type { Urgency } from './port.ts';
import type { RateTold } from './rate-headers.ts';

export type BudgetOptions = {
  upstream: string;
  /** Names of the accounts, the empty one for none. */
  accounts: readonly string[];
  /** Percent of the pulls that is kept for runtimes. */
  reserve: number;
  ownLimit: { pulls: number; windowMs: number } | undefined;
  now: () => number;
  random: () => number;
};

/** One reading of what an account may still do. */
export type BudgetReading = {
  account: string;
  left: number;
  fullInMs: number;
};

/** A pull that was taken; `done` when its answer is here, or none will come. */
export type TakenPull = { done: () => void };

const OWN_BUCKET = 'own';

/**
 * The pulls that one upstream lets its accounts make, as its answers tell. All hubs on one catalog
 * count together; a pull is counted when it begins, and what the registry tells then corrects it.
 */
export class Budget {
  readonly #options: BudgetOptions;
  readonly #store: BudgetStore;
  readonly #rows = new Map<string, BudgetRow>();
  #rowsAtMs = 0;
  readonly #sources = new Map<string, string>();
  /** Pulls whose answers are not here yet, by bucket. */
  readonly #running = new Map<string, number>();
  readonly #refusals = new Map<string, number>();
  readonly #told = new Map<string, { left: number; atMs: number }>();
  readonly #probes = new Map<string, number>();
  /** When an account was last counted with others than before. */
  readonly #changes = new Map<string, number>();
  #forgotAtMs = Number.NEGATIVE_INFINITY;
  #viewAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: BudgetOptions, modules: { store: BudgetStore }) {
    this.#options = options;
    this.#store = modules.store;
  }

  /**
   * Accounts that may be used, the one with most pulls left first; and for how long no other may.
   */
  async order(): Promise<{ accounts: string[]; blockedMs: number }> {
    await this.#look();
    const blocked = new Map(
      this.#options.accounts.map((account) => [account, this.#blockedMs(account)]),
    );
    const accounts = this.#options.accounts
      .filter((account) => blocked.get(account) === 0)
      .toSorted((a, b) => this.#left(b) - this.#left(a));
    return { accounts, blockedMs: Math.min(...blocked.values()) };
  }

  /** Takes one pull of an account, or tells how long to wait for one. */
  async take(account: string, urgency: Urgency): Promise<TakenPull | { waitMs: number }> {
    const { upstream, ownLimit } = this.#options;
    const reserve = urgency === 'scheduled' ? this.#options.reserve : 0;
    const bucket = this.#bucketOf(account);
    const charges: Charge[] = [{ bucket, reserve }];
    if (ownLimit !== undefined) {
      const allowance: Allowance = { limit: ownLimit.pulls, windowMs: ownLimit.windowMs };
      charges.push({ bucket: OWN_BUCKET, reserve, allowance });
    }
    const noRoom = await this.#store.take(upstream, charges);
    if (noRoom !== undefined) return { waitMs: noRoom.waitMs };
    this.#count(bucket, 1);
    let isRunning = true;
    const done = (): void => {
      if (isRunning) this.#count(bucket, -1);
      isRunning = false;
    };
    return { done };
  }

  /** Whether an account without pulls shall ask for its count, which it may now and then. */
  mayProbe(account: string): boolean {
    const now = this.#options.now();
    const last = this.#probes.get(account) ?? Number.NEGATIVE_INFINITY;
    const told = this.#told.get(this.#bucketOf(account))?.atMs ?? Number.NEGATIVE_INFINITY;
    if (now - Math.max(last, told) < BUDGET_PROBE_MS) return false;
    this.#probes.set(account, now);
    return true;
  }

  /** Notes what an answer tells. */
  async tell(account: string, told: RateTold): Promise<void> {
    const { upstream, now } = this.#options;
    this.#countWith(account, told.source);
    const bucket = this.#bucketOf(account);
    this.#refusals.delete(account);
    // Those on their way may not be counted there yet.
    const left = Math.max(0, told.left - (this.#running.get(bucket) ?? 0));
    const before = this.#told.get(bucket);
    const isNew = before?.left !== left || now() - before.atMs >= BUDGET_TELL_MS;
    if (!isNew) return;
    this.#told.set(bucket, { left, atMs: now() });
    await this.#store.tell(upstream, { bucket, account, allowance: told.allowance, left });
    this.#viewAtMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Notes that an account was refused: for its pulls when what is counted was refused and none is
   * left, for all requests otherwise. How long is as the registry says; a count tells enough.
   * @returns ms until it may be used again
   */
  async refused(
    account: string,
    refusal: { counted: boolean; told: RateTold | undefined; retryAfterMs: number | undefined },
  ): Promise<number> {
    const { upstream, random } = this.#options;
    const { counted, told, retryAfterMs } = refusal;
    const times = this.#refusals.get(account) ?? 0;
    if (told !== undefined) await this.tell(account, told);
    const isOut = counted && (told === undefined || told.left === 0);
    this.#refusals.set(account, times + 1);
    this.#viewAtMs = Number.NEGATIVE_INFINITY;
    if (isOut && told !== undefined && retryAfterMs === undefined) {
      return Math.trunc(told.allowance.windowMs / told.allowance.limit);
    }
    const wait = { baseMs: REFUSED_BASE_MS, maxMs: REFUSED_MAX_MS, random };
    const ms = retryAfterMs ?? REFUSED_BASE_MS + backoffMs(times, wait);
    const bucket = isOut ? this.#bucketOf(account) : allOf(account);
    await this.#store.block(upstream, { bucket, account, ms });
    return ms;
  }

  /** What is left of each account whose pulls are counted, by what this hub last saw. */
  readings(): BudgetReading[] {
    return this.#options.accounts.flatMap((account) => {
      const row = this.#rows.get(this.#bucketOf(account));
      if (row?.allowance === undefined) return [];
      const fullInMs = Math.max(0, row.fullInMs - (this.#options.now() - this.#rowsAtMs));
      const { limit, windowMs } = row.allowance;
      return [{ account, fullInMs, left: Math.max(0, limit - (fullInMs / windowMs) * limit) }];
    });
  }

  async #look(): Promise<void> {
    const now = this.#options.now();
    if (now - this.#viewAtMs < BUDGET_VIEW_MS) return;
    this.#viewAtMs = now;
    if (now - this.#forgotAtMs >= BUDGET_FORGET_MS) {
      this.#forgotAtMs = now;
      await this.#store.forget(BUDGET_KEPT_MS);
    }
    const rows = await this.#store.list(this.#options.upstream);
    this.#rows.clear();
    this.#rowsAtMs = now;
    for (const row of rows) this.#rows.set(row.bucket, row);
    for (const account of this.#options.accounts) {
      if (this.#sources.has(account)) continue;
      const [newest] = rows
        .filter((row) => row.account === account && row.bucket.startsWith('source '))
        .toSorted((a, b) => a.ageMs - b.ageMs);
      if (newest !== undefined) this.#sources.set(account, newest.bucket);
    }
  }

  #bucketOf(account: string): string {
    return this.#sources.get(account) ?? ofAccount(account);
  }

  /** A registry that names another source each time shall not fill the catalog with them. */
  #countWith(account: string, source: string | undefined): void {
    const bucket = source === undefined ? ofAccount(account) : `source ${source}`;
    const before = this.#bucketOf(account);
    if (bucket === before) return;
    const now = this.#options.now();
    const changedAtMs = this.#changes.get(account) ?? Number.NEGATIVE_INFINITY;
    if (!this.#rows.has(bucket) && now - changedAtMs < SOURCE_CHANGE_MS) return;
    this.#changes.set(account, now);
    this.#sources.set(account, bucket);
    this.#told.delete(before);
  }

  #blockedMs(account: string): number {
    return this.#rows.get(allOf(account))?.blockedMs ?? 0;
  }

  /** One whose pulls nobody counts has most of them. */
  #left(account: string): number {
    const row = this.#rows.get(this.#bucketOf(account));
    if (row === undefined) return Number.MAX_SAFE_INTEGER;
    if (row.blockedMs > 0) return -1;
    return row.allowance === undefined ? Number.MAX_SAFE_INTEGER : row.left;
  }

  #count(bucket: string, change: number): void {
    const running = (this.#running.get(bucket) ?? 0) + change;
    if (running > 0) this.#running.set(bucket, running);
    else this.#running.delete(bucket);
  }
}

function ofAccount(account: string): string {
  return `account ${account}`;
}

/** For all requests of an account, not only its pulls. */
function allOf(account: string): string {
  return `requests ${account}`;
}
