/** How many pulls of manifests come in again, evenly, in which time. */
export type Allowance = { limit: number; windowMs: number };

/** What is known of one bucket of pulls, by the clock of the store. */
export type BudgetRow = {
  bucket: string;
  /** The account that was told of it last; empty for none. */
  account: string;
  /** undefined when nothing was told. */
  allowance: Allowance | undefined;
  /** Pulls left, with what came in since; 0 without an allowance. */
  left: number;
  /** Time in which it is full again, ms. */
  fullInMs: number;
  /** For how long it may not be used at all, ms; 0: not blocked. */
  blockedMs: number;
  /** Since when this is known, ms. */
  ageMs: number;
};

export type Charge = {
  bucket: string;
  /** Percent of the allowance that is left for others. */
  reserve: number;
  /** The allowance, for a bucket that no registry tells of. */
  allowance?: Allowance | undefined;
};

/** A bucket without room, and the ms until it has some. */
export type NoRoom = { bucket: string; waitMs: number };

/** What hubs on one catalog know together of the pulls that upstreams let them make. */
export interface BudgetStore {
  /** What is known of an upstream. */
  list(upstream: string): Promise<BudgetRow[]>;
  /**
   * Takes one pull of each bucket, or of none when one has no room. A bucket that nobody has told
   * of has room.
   */
  take(upstream: string, charges: readonly Charge[]): Promise<NoRoom | undefined>;
  /** Notes what a registry says is left. */
  tell(
    upstream: string,
    told: { bucket: string; account: string; allowance: Allowance; left: number },
  ): Promise<void>;
  /** Lets nobody use a bucket for so long, or longer when that is known. */
  block(upstream: string, blocked: { bucket: string; account: string; ms: number }): Promise<void>;
  /** Drops what is older, such as of addresses this fleet no longer has. */
  forget(olderThanMs: number): Promise<void>;
}

/** ms in which one pull comes in again. */
export function everyMsOf({ limit, windowMs }: Allowance): number {
  return Math.max(1, Math.trunc(windowMs / Math.max(1, limit)));
}

/** Pulls of an allowance that may be used when part of it is kept. */
export function usableOf({ limit }: Allowance, reserve: number): number {
  return limit - Math.trunc((limit * reserve) / 100);
}
