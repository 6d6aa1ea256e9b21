import {
  everyMsOf,
  usableOf,
  type Allowance,
  type BudgetRow,
  type BudgetStore,
  type Charge,
  type NoRoom,
} from './budget-store.ts';

type Row = {
  account: string;
  allowance: Allowance | undefined;
  fullAtMs: number;
  blockedUntilMs: number;
  toldAtMs: number;
};

/** A BudgetStore of one process, for tests. Every call is one step. */
export class MemoryBudgets implements BudgetStore {
  readonly #now: () => number;
  readonly #upstreams = new Map<string, Map<string, Row>>();

  constructor(options: { now: () => number }) {
    this.#now = options.now;
  }

  async list(upstream: string): Promise<BudgetRow[]> {
    const now = this.#now();
    return [...this.#rows(upstream)].map(([bucket, row]) => {
      const { account, allowance } = row;
      const fullInMs = Math.max(0, row.fullAtMs - now);
      const missing = allowance === undefined ? 0 : fullInMs / everyMsOf(allowance);
      return {
        bucket,
        account,
        allowance,
        left: Math.max(0, (allowance?.limit ?? 0) - missing),
        fullInMs,
        blockedMs: Math.max(0, row.blockedUntilMs - now),
        ageMs: now - row.toldAtMs,
      };
    });
  }

  async take(upstream: string, charges: readonly Charge[]): Promise<NoRoom | undefined> {
    const now = this.#now();
    for (const { bucket, allowance } of charges) {
      if (allowance !== undefined) this.#row(upstream, bucket).allowance = allowance;
    }
    for (const charge of charges) {
      const waitMs = this.#waitMs(upstream, charge);
      if (waitMs > 0) return { bucket: charge.bucket, waitMs };
    }
    for (const { bucket } of charges) {
      const row = this.#rows(upstream).get(bucket);
      if (row?.allowance === undefined) continue;
      row.fullAtMs = Math.max(row.fullAtMs, now) + everyMsOf(row.allowance);
    }
    return undefined;
  }

  async tell(
    upstream: string,
    told: { bucket: string; account: string; allowance: Allowance; left: number },
  ): Promise<void> {
    const { bucket, account, allowance, left } = told;
    const now = this.#now();
    const row = this.#row(upstream, bucket);
    const fullAtMs = now + Math.trunc((allowance.limit - left) * everyMsOf(allowance));
    Object.assign(row, { account, allowance, fullAtMs, toldAtMs: now });
  }

  async block(
    upstream: string,
    { bucket, account, ms }: { bucket: string; account: string; ms: number },
  ): Promise<void> {
    const now = this.#now();
    const row = this.#row(upstream, bucket);
    const blockedUntilMs = Math.max(row.blockedUntilMs, now + ms);
    Object.assign(row, { account, blockedUntilMs, toldAtMs: now });
  }

  async forget(olderThanMs: number): Promise<void> {
    const before = this.#now() - olderThanMs;
    for (const rows of this.#upstreams.values()) {
      for (const [bucket, { toldAtMs }] of rows) if (toldAtMs < before) rows.delete(bucket);
    }
  }

  #waitMs(upstream: string, { bucket, reserve }: Charge): number {
    const now = this.#now();
    const row = this.#rows(upstream).get(bucket);
    if (row === undefined) return 0;
    const blockedMs = Math.max(0, row.blockedUntilMs - now);
    if (row.allowance === undefined) return blockedMs;
    const roomMs = (usableOf(row.allowance, reserve) - 1) * everyMsOf(row.allowance);
    return Math.max(blockedMs, row.fullAtMs - now - roomMs, 0);
  }

  #rows(upstream: string): Map<string, Row> {
    const rows = this.#upstreams.get(upstream) ?? new Map<string, Row>();
    this.#upstreams.set(upstream, rows);
    return rows;
  }

  #row(upstream: string, bucket: string): Row {
    const rows = this.#rows(upstream);
    const fresh = { account: '', allowance: undefined, fullAtMs: 0, blockedUntilMs: 0 };
    const row = rows.get(bucket) ?? { ...fresh, toldAtMs: this.#now() };
    rows.set(bucket, row);
    return row;
  }
}
