/** Failures that may come at once, and how long it takes until one more may. */
export type Rate = { burst: number; everyMs: number };

/** A failure to be counted for a name. Names are codes: what people type may be a password. */
export type Charge = { name: string; rate: Rate };

/** A name for which no failure may be counted, and how long until one may, ms. */
export type Full = { name: string; waitMs: number };

/** Failed and successful logins at all hubs that share a catalog, in the time of its database. */
export interface LoginStore {
  /** Counts a failure for each name; for none when there is no room for one of them. */
  charge(charges: readonly Charge[]): Promise<Full | undefined>;
  /** Takes such a count back; `pair`, a code too, is then remembered as trusted for so long. */
  refund(charges: readonly Charge[], trusted?: { pair: string; lifeMs: number }): Promise<void>;
  isTrusted(pair: string): Promise<boolean>;
  /** Deletes what counts no more, and what is above `max` rows of a kind, next to it. */
  purge(max: number): Promise<void>;
}
