import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { TrustError } from '../../proto/trust/errors.ts';
import { verifyMembership, type Membership } from '../../proto/trust/membership.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import { LEARNED_MEMBERS_MAX, MEMBERS_MAX, REVOKED_SERIALS_MAX } from './constants.ts';

/** A certificate as the hub signed it, and what it says. */
export type MemberRecord = { readonly bytes: Buffer; readonly membership: Membership };

/** Who is in the fleet, as far as this node can prove it. */
export interface MemberDirectory {
  /** Our own certificate; undefined before the enrolment. */
  readonly own: MemberRecord | undefined;
  /** A member that is neither expired nor revoked. */
  get(peerId: string): MemberRecord | undefined;
  /** All such members but ourselves. */
  list(): readonly Membership[];
  /** Takes in a certificate that came from a peer. Throws TrustError unless it verifies. */
  learn(bytes: Uint8Array): Membership;
  /** Called after members were added, removed or revoked. */
  onChange(listener: () => void): Disposable;
}

/** What the hub publishes. */
export type MembersSnapshot = {
  version: number;
  memberships: readonly Buffer[];
  revokedSerials: readonly number[];
};

/** The verified members: the last snapshot of the hub, and who was learned since. */
export class MemberBook implements MemberDirectory {
  readonly #options: { now: () => number; graceMs: () => number; peerId: string };
  readonly #modules: { trust: TrustStore; fleetId: () => string };
  readonly #listeners = new Set<() => void>();
  #snapshot = new Map<string, MemberRecord>();
  readonly #learned = new Map<string, MemberRecord>();
  /** By certificate bytes. */
  readonly #verified = new Map<string, MemberRecord>();
  #revoked = new Set<number>();
  #version = 0;
  #own: MemberRecord | undefined;

  constructor(
    options: { peerId: string; now?: () => number; graceMs?: () => number },
    modules: { trust: TrustStore; fleetId: () => string },
  ) {
    this.#options = {
      peerId: options.peerId,
      now: options.now ?? Date.now,
      graceMs: options.graceMs ?? (() => 0),
    };
    this.#modules = modules;
  }

  get own(): MemberRecord | undefined {
    return this.#own;
  }

  /** Version of the last snapshot, 0 before the first. */
  get version(): number {
    return this.#version;
  }

  /** Verifies and keeps our own certificate. Throws TrustError, WRONG_AUDIENCE for another's. */
  setOwn(bytes: Buffer): Membership {
    const membership = this.#verify(bytes);
    if (membership.peerId !== this.#options.peerId) {
      throw new TrustError(`a membership of ${membership.node}, not of this node`, {
        code: 'WRONG_AUDIENCE',
      });
    }
    this.#own = { bytes, membership };
    this.#changed();
    return membership;
  }

  /** Forgets our own certificate. */
  clearOwn(): void {
    this.#own = undefined;
  }

  /** Tells the listeners that members may have become valid or invalid by the time alone. */
  refresh(): void {
    this.#changed();
  }

  /**
   * Puts a new snapshot in the place of the last one. Certificates that do not verify are left out
   * and counted, so that one bad entry does not cost us the others.
   */
  replace(snapshot: MembersSnapshot): { members: number; refused: number } {
    const next = new Map<string, MemberRecord>();
    let refused = Math.max(0, snapshot.memberships.length - MEMBERS_MAX);
    for (const bytes of snapshot.memberships.slice(0, MEMBERS_MAX)) {
      const record = this.#known(bytes) ?? this.#tryVerify(bytes);
      if (record) next.set(record.membership.peerId, record);
      else refused++;
    }
    this.#snapshot = next;
    this.#revoked = new Set(snapshot.revokedSerials.slice(-REVOKED_SERIALS_MAX));
    this.#version = snapshot.version;
    for (const [peerId, record] of this.#learned) {
      const listed = next.get(peerId);
      const stale = listed !== undefined && listed.membership.serial >= record.membership.serial;
      if (stale || this.#isRevoked(record)) this.#learned.delete(peerId);
    }
    this.#indexVerified();
    this.#changed();
    return { members: next.size, refused };
  }

  /** Adds what changed since the last snapshot; the list of revoked serials is whole. */
  patch(delta: MembersSnapshot): { members: number; refused: number } {
    const revoked = new Set(delta.revokedSerials);
    const merged = new Map<string, MemberRecord>();
    let refused = 0;
    for (const record of this.#snapshot.values()) merged.set(record.membership.peerId, record);
    for (const bytes of delta.memberships) {
      const record = this.#known(bytes) ?? this.#tryVerify(bytes);
      if (record) merged.set(record.membership.peerId, record);
      else refused++;
      if (record) this.#verified.set(record.bytes.toString('latin1'), record);
    }
    const left = [...merged.values()].filter(({ membership }) => !revoked.has(membership.serial));
    const memberships = left.map(({ bytes }) => bytes);
    const replaced = this.replace({ ...delta, memberships });
    return { members: replaced.members, refused: refused + replaced.refused };
  }

  /** Checks every certificate again, as after a new key bundle that may revoke a key. */
  reverify(): void {
    for (const records of [this.#snapshot, this.#learned]) {
      for (const [peerId, record] of records) {
        if (!this.#tryVerify(record.bytes)) records.delete(peerId);
      }
    }
    this.#indexVerified();
    this.#changed();
  }

  /** The certificates to persist. */
  snapshot(): MembersSnapshot {
    return {
      version: this.#version,
      memberships: [...this.#snapshot.values()].map((record) => record.bytes),
      revokedSerials: [...this.#revoked],
    };
  }

  /** The certificates that no snapshot has shown yet, the one learned last at the end. */
  learned(): Buffer[] {
    return [...this.#learned.values()].map((record) => record.bytes);
  }

  get(peerId: string): MemberRecord | undefined {
    const listed = this.#snapshot.get(peerId);
    const learned = this.#learned.get(peerId);
    const newer =
      listed && learned && learned.membership.serial > listed.membership.serial
        ? learned
        : (listed ?? learned);
    return newer && this.#isValid(newer) ? newer : undefined;
  }

  list(): readonly Membership[] {
    const members: Membership[] = [];
    for (const peerId of new Set([...this.#snapshot.keys(), ...this.#learned.keys()])) {
      const record = peerId === this.#options.peerId ? undefined : this.get(peerId);
      if (record) members.push(record.membership);
    }
    return members;
  }

  learn(bytes: Uint8Array): Membership {
    const copy = Buffer.from(bytes);
    const known = this.#known(copy);
    if (known && this.#isValid(known)) return known.membership;
    const membership = this.#verify(copy);
    const record = { bytes: copy, membership };
    if (this.#isRevoked(record)) {
      throw new TrustError(`the membership of ${membership.node} was revoked`, {
        code: 'REVOKED_KEY',
      });
    }
    const current = this.get(membership.peerId);
    if (current && current.membership.serial >= membership.serial) return membership;
    const before = this.#learned.get(membership.peerId);
    if (before) this.#forgetLearned(before);
    this.#learned.set(membership.peerId, record);
    this.#verified.set(copy.toString('latin1'), record);
    const [oldest] = this.#learned.values();
    if (oldest && this.#learned.size > LEARNED_MEMBERS_MAX) this.#forgetLearned(oldest);
    this.#changed();
    return membership;
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  #verify(bytes: Uint8Array): Membership {
    return verifyMembership(bytes, this.#modules.trust, {
      nowMs: this.#options.now(),
      graceMs: this.#options.graceMs(),
      fleetId: this.#modules.fleetId(),
    });
  }

  #tryVerify(bytes: Buffer): MemberRecord | undefined {
    try {
      return { bytes, membership: this.#verify(bytes) };
    } catch {
      return undefined;
    }
  }

  // A signature is checked once; a snapshot of thousands mostly repeats the last one.
  #known(bytes: Buffer): MemberRecord | undefined {
    return this.#verified.get(bytes.toString('latin1'));
  }

  #forgetLearned(record: MemberRecord): void {
    this.#learned.delete(record.membership.peerId);
    this.#verified.delete(record.bytes.toString('latin1'));
  }

  #indexVerified(): void {
    this.#verified.clear();
    for (const records of [this.#snapshot, this.#learned]) {
      for (const record of records.values()) {
        this.#verified.set(record.bytes.toString('latin1'), record);
      }
    }
  }

  #isValid(record: MemberRecord): boolean {
    const untilMs = record.membership.notAfterMs + this.#options.graceMs() + CLOCK_SKEW_MS;
    return untilMs > this.#options.now() && !this.#isRevoked(record);
  }

  #isRevoked(record: MemberRecord): boolean {
    return this.#revoked.has(record.membership.serial);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
