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

/**
 * What of the fleet outlives a restart. Every method is one transaction, durable when its promise
 * resolves.
 */
export interface FleetStore {
  /** The value of a setting; `initial` is stored and returned when there is none yet. */
  settingOnce(key: string, initial: string): Promise<string>;
  /** A number larger than every one returned before, from 1 on. */
  nextSerial(): Promise<number>;
  /** The last number that nextSerial returned; 0 before the first. */
  lastSerial(): Promise<number>;

  /** All stored certificates. */
  certificates(): Promise<CertificateRow[]>;
  /**
   * Stores a certificate and revokes others by serial. With a token, the token is used up by one
   * first, and nothing is stored unless it is 'ok'.
   */
  putCertificate(
    row: CertificateRow,
    change: { revoke: readonly number[]; token?: { tokenId: string; nowMs: number } },
  ): Promise<TokenVerdict>;
  revoke(serials: readonly number[], nowMs: number): Promise<void>;
  /** Deletes certificates that ended before `endedBeforeMs`. */
  purge(endedBeforeMs: number): Promise<void>;

  joinToken(tokenId: string): Promise<JoinTokenRow | undefined>;
  /** Deletes tokens that expired before `nowMs`, then stores one; false when `max` are left. */
  putJoinToken(row: JoinTokenRow, limits: { nowMs: number; max: number }): Promise<boolean>;
}
