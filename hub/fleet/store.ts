/** One membership certificate that the hub signed. A member has one for each renewal. */
export type CertificateRow = {
  serial: number;
  peerId: string;
  node: string;
  zone: string;
  addresses: string[];
  libp2pPort: number;
  lanePort: number;
  notBeforeMs: number;
  notAfterMs: number;
  /** undefined while it is not revoked. */
  revokedAtMs: number | undefined;
  /** Number of the change that made or revoked it; its own serial at first. */
  changed: number;
  /** The signed bytes. */
  certificate: Buffer;
  /** Version of the agent's program, as it said. */
  build: string;
};

/** A join token without its secret. */
export type JoinTokenRow = {
  tokenId: string;
  /** SHA-256 of the secret. */
  secretHash: Buffer;
  expiresAtMs: number;
  usesLeft: number;
};

export type TokenVerdict = 'ok' | 'expired' | 'used-up';

/** The key ring as it lies in the catalog. */
export type SealedRing = {
  serial: number;
  /** Id of the key that it is encrypted under. */
  sealedWith: string;
  sealed: string;
};

/** What one change of the members reads and writes. */
export interface MembersChange {
  /** A number larger than every one before, from 1 on; it is of no change that is undone. */
  nextSerial(): Promise<number>;
  changesSince(serial: number): Promise<CertificateRow[]>;
  /** Uses a join token up by one when it is 'ok'. */
  useToken(token: { tokenId: string; nowMs: number }): Promise<TokenVerdict>;
  put(row: CertificateRow): Promise<void>;
  /** Those that are revoked already stay as they are. */
  revoke(serials: readonly number[], change: { nowMs: number; changed: number }): Promise<void>;
  /** Notes the time of a signed request; false: one of the same call was as late or later. */
  noteCall(call: string, peerId: string, timeMs: number): Promise<boolean>;
}

/**
 * What of the fleet outlives a restart. Every method is one transaction, durable when its promise
 * resolves.
 */
export interface FleetStore {
  /** The value of a setting; `initial` is stored and returned when there is none yet. */
  settingOnce(key: string, initial: string): Promise<string>;
  /** undefined: there is none. */
  setting(key: string): Promise<string | undefined>;
  /** The last number that nextSerial returned; 0 before the first. */
  lastSerial(): Promise<number>;

  /**
   * Certificates by the number of their last change, those after `serial` only. Who has all up to
   * one number misses none before it: changes become visible in the order of their numbers.
   */
  changesSince(serial: number): Promise<CertificateRow[]>;
  /**
   * Changes the members, one change at a time whichever hub makes it: all of it, or nothing when
   * `work` throws. It may be run again, so it must change nothing else.
   */
  changeMembers<Result>(work: (change: MembersChange) => Promise<Result>): Promise<Result>;
  /** Deletes certificates that ended, and times of requests that were, before. */
  purge(before: { endedMs: number; calledMs: number }): Promise<void>;

  /** With `after`, only one with a larger serial. */
  sealedRing(after?: number): Promise<SealedRing | undefined>;
  /** Puts a ring in the place of another, or of none; false: that one is not there any more. */
  replaceRing(ring: SealedRing, before: Omit<SealedRing, 'sealed'> | undefined): Promise<boolean>;

  joinToken(tokenId: string): Promise<JoinTokenRow | undefined>;
  /** Deletes tokens that expired before `nowMs`, then stores one; false when `max` are left. */
  putJoinToken(row: JoinTokenRow, limits: { nowMs: number; max: number }): Promise<boolean>;
}
