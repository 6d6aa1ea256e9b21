import type { CertificateRow, FleetStore, JoinTokenRow, TokenVerdict } from './store.ts';

/** A FleetStore that forgets everything with its process, for tests and simulations. */
export class MemoryFleetStore implements FleetStore {
  readonly #settings = new Map<string, string>();
  readonly #certificates = new Map<number, CertificateRow>();
  readonly #tokens = new Map<string, JoinTokenRow>();
  #serial = 0;

  async settingOnce(key: string, initial: string): Promise<string> {
    const value = this.#settings.get(key) ?? initial;
    this.#settings.set(key, value);
    return value;
  }

  async nextSerial(): Promise<number> {
    return ++this.#serial;
  }

  async lastSerial(): Promise<number> {
    return this.#serial;
  }

  async certificates(): Promise<CertificateRow[]> {
    return [...this.#certificates.values()];
  }

  async putCertificate(
    row: CertificateRow,
    change: { revoke: readonly number[]; token?: { tokenId: string; nowMs: number } },
  ): Promise<TokenVerdict> {
    if (change.token !== undefined) {
      const token = this.#tokens.get(change.token.tokenId);
      if (token === undefined || token.expiresAtMs <= change.token.nowMs) return 'expired';
      if (token.usesLeft < 1) return 'used-up';
      this.#tokens.set(token.tokenId, { ...token, usesLeft: token.usesLeft - 1 });
    }
    this.#certificates.set(row.serial, row);
    await this.revoke(change.revoke, row.notBeforeMs);
    return 'ok';
  }

  async revoke(serials: readonly number[], nowMs: number): Promise<void> {
    for (const serial of serials) {
      const row = this.#certificates.get(serial);
      if (row !== undefined) this.#certificates.set(serial, { ...row, revokedAtMs: nowMs });
    }
  }

  async purge(endedBeforeMs: number): Promise<void> {
    for (const [serial, row] of this.#certificates) {
      if (row.notAfterMs < endedBeforeMs) this.#certificates.delete(serial);
    }
  }

  async joinToken(tokenId: string): Promise<JoinTokenRow | undefined> {
    return this.#tokens.get(tokenId);
  }

  async putJoinToken(row: JoinTokenRow, limits: { nowMs: number; max: number }): Promise<boolean> {
    for (const [tokenId, token] of this.#tokens) {
      if (token.expiresAtMs < limits.nowMs) this.#tokens.delete(tokenId);
    }
    if (this.#tokens.size >= limits.max) return false;
    this.#tokens.set(row.tokenId, row);
    return true;
  }
}
