import type {
  CertificateRow,
  FleetStore,
  JoinTokenRow,
  MembersChange,
  SealedRing,
  TokenVerdict,
} from './store.ts';

/** What a change of the members may touch, to put it back. */
type Rows = {
  certificates: Map<number, CertificateRow>;
  tokens: Map<string, JoinTokenRow>;
  calls: Map<string, number>;
  serial: number;
};

/** A FleetStore that forgets everything with its process, for tests and simulations. */
export class MemoryFleetStore implements FleetStore {
  readonly #settings = new Map<string, string>();
  #rows: Rows = { certificates: new Map(), tokens: new Map(), calls: new Map(), serial: 0 };
  #ring: SealedRing | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  async settingOnce(key: string, initial: string): Promise<string> {
    const value = this.#settings.get(key) ?? initial;
    this.#settings.set(key, value);
    return value;
  }

  async setting(key: string): Promise<string | undefined> {
    return this.#settings.get(key);
  }

  async lastSerial(): Promise<number> {
    return this.#rows.serial;
  }

  async changesSince(serial: number): Promise<CertificateRow[]> {
    return changesSince(this.#rows, serial);
  }

  changeMembers<Result>(work: (change: MembersChange) => Promise<Result>): Promise<Result> {
    return this.#inTurn(async () => {
      const { certificates, tokens, calls, serial } = this.#rows;
      const rows = {
        certificates: new Map(certificates),
        tokens: new Map(tokens),
        calls: new Map(calls),
        serial,
      };
      const result = await work(new MemoryChange(rows));
      this.#rows = rows;
      return result;
    });
  }

  purge(before: { endedMs: number; calledMs: number }): Promise<void> {
    return this.#inTurn(async () => {
      const { certificates, calls } = this.#rows;
      for (const [serial, row] of certificates) {
        if (row.notAfterMs < before.endedMs) certificates.delete(serial);
      }
      for (const [call, timeMs] of calls) if (timeMs < before.calledMs) calls.delete(call);
    });
  }

  async sealedRing(after = 0): Promise<SealedRing | undefined> {
    return (this.#ring?.serial ?? 0) > after ? this.#ring : undefined;
  }

  async replaceRing(
    ring: SealedRing,
    before: Omit<SealedRing, 'sealed'> | undefined,
  ): Promise<boolean> {
    const { serial, sealedWith } = this.#ring ?? {};
    if (serial !== before?.serial || sealedWith !== before?.sealedWith) return false;
    this.#ring = ring;
    return true;
  }

  async joinToken(tokenId: string): Promise<JoinTokenRow | undefined> {
    return this.#rows.tokens.get(tokenId);
  }

  putJoinToken(row: JoinTokenRow, limits: { nowMs: number; max: number }): Promise<boolean> {
    return this.#inTurn(async () => {
      const { tokens } = this.#rows;
      for (const [tokenId, token] of tokens) {
        if (token.expiresAtMs < limits.nowMs) tokens.delete(tokenId);
      }
      if (tokens.size >= limits.max) return false;
      tokens.set(row.tokenId, row);
      return true;
    });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

function changesSince({ certificates }: Rows, serial: number): CertificateRow[] {
  const rows = [...certificates.values()].filter(({ changed }) => changed > serial);
  return rows.sort((a, b) => a.changed - b.changed || a.serial - b.serial);
}

class MemoryChange implements MembersChange {
  readonly #rows: Rows;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  async nextSerial(): Promise<number> {
    return ++this.#rows.serial;
  }

  async changesSince(serial: number): Promise<CertificateRow[]> {
    return changesSince(this.#rows, serial);
  }

  async useToken({ tokenId, nowMs }: { tokenId: string; nowMs: number }): Promise<TokenVerdict> {
    const token = this.#rows.tokens.get(tokenId);
    if (token === undefined || token.expiresAtMs <= nowMs) return 'expired';
    if (token.usesLeft < 1) return 'used-up';
    this.#rows.tokens.set(tokenId, { ...token, usesLeft: token.usesLeft - 1 });
    return 'ok';
  }

  async put(row: CertificateRow): Promise<void> {
    this.#rows.certificates.set(row.serial, row);
  }

  async revoke(
    serials: readonly number[],
    { nowMs, changed }: { nowMs: number; changed: number },
  ): Promise<void> {
    const { certificates } = this.#rows;
    for (const serial of serials) {
      const row = certificates.get(serial);
      if (row === undefined || row.revokedAtMs !== undefined) continue;
      certificates.set(serial, { ...row, revokedAtMs: nowMs, changed });
    }
  }

  async noteCall(call: string, peerId: string, timeMs: number): Promise<boolean> {
    const key = `${call} ${peerId}`;
    if (timeMs <= (this.#rows.calls.get(key) ?? 0)) return false;
    this.#rows.calls.set(key, timeMs);
    return true;
  }
}
