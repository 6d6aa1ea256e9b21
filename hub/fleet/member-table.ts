import { REVOKED_MAX } from '../../proto/hubapi/constants.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { MEMBER_DELTAS_MAX } from './constants.ts';
import { FleetError } from './errors.ts';
import type { CertificateRow } from './store.ts';

/** A current member and its certificate in base64, as answers carry it. */
export type MemberRecord = CertificateRow & { readonly text: string };

/** All certificates of the fleet in memory, by peer and by node. */
export class MemberTable {
  readonly #revokedMax: number;
  /** Certificates of each peer, oldest first. */
  readonly #byPeer = new Map<string, MemberRecord[]>();
  /** The peers whose certificates carry a node name. */
  readonly #byNode = new Map<string, Set<string>>();
  #version = 0;
  #snapshot: { version: number; atMs: number; body: Buffer } | undefined;
  /** Answers about this version, by the version that was known. */
  readonly #deltas = new Map<number, Buffer>();

  constructor(options: { revokedMax?: number } = {}) {
    this.#revokedMax = options.revokedMax ?? REVOKED_MAX;
  }

  /** Grows with every change; 0 before the first. */
  get version(): number {
    return this.#version;
  }

  /** Tells that what members() says has changed. Throws RangeError when the version runs back. */
  set version(version: number) {
    if (version < this.#version) throw new RangeError('the version of the members runs back');
    this.#version = version;
    this.#snapshot = undefined;
    this.#deltas.clear();
  }

  /** Puts a certificate in, or in its own place unless that has seen a later change. */
  add(row: CertificateRow): void {
    const record = { ...row, text: row.certificate.toString('base64') };
    const rows = this.#byPeer.get(row.peerId) ?? [];
    const known = rows.find(({ serial }) => serial === row.serial);
    if (known !== undefined && known.changed >= row.changed) return;
    const others = known === undefined ? rows : rows.filter((one) => one !== known);
    this.#byPeer.set(
      row.peerId,
      [...others, record].sort((a, b) => a.serial - b.serial),
    );
    const peers = this.#byNode.get(row.node) ?? new Set<string>();
    this.#byNode.set(row.node, peers.add(row.peerId));
  }

  /**
   * Takes over what was changed, in the order of the changes; the peers that have no current
   * certificate left.
   */
  follow(rows: readonly CertificateRow[]): string[] {
    const before = new Set(rows.filter(({ peerId }) => this.newest(peerId)).map(peerOf));
    for (const row of rows) this.add(row);
    const last = rows.at(-1)?.changed ?? 0;
    if (last > this.#version) this.version = last;
    return [...before].filter((peerId) => this.newest(peerId) === undefined);
  }

  /** Marks certificates as revoked; the peers that have no current one left. */
  revoke(
    serials: ReadonlySet<number>,
    { nowMs, changed }: { nowMs: number; changed: number },
  ): string[] {
    const gone: string[] = [];
    for (const [peerId, rows] of this.#byPeer) {
      if (!rows.some((row) => serials.has(row.serial))) continue;
      const marked = rows.map((row) =>
        serials.has(row.serial) && row.revokedAtMs === undefined
          ? { ...row, revokedAtMs: nowMs, changed }
          : row,
      );
      this.#byPeer.set(peerId, marked);
      if (marked.at(-1)?.revokedAtMs !== undefined) gone.push(peerId);
    }
    return gone;
  }

  /** Drops certificates that ended before `endedBeforeMs`. */
  purge(endedBeforeMs: number): void {
    for (const [peerId, rows] of this.#byPeer) {
      const kept = rows.filter((row) => row.notAfterMs >= endedBeforeMs);
      if (kept.length === rows.length) continue;
      if (kept.length === 0) this.#byPeer.delete(peerId);
      else this.#byPeer.set(peerId, kept);
      for (const { node } of rows) {
        if (!kept.some((row) => row.node === node)) this.#leaveNode(node, peerId);
      }
    }
  }

  /** The newest certificate of a peer unless it is revoked. It may have expired. */
  newest(peerId: string): MemberRecord | undefined {
    const record = this.#byPeer.get(peerId)?.at(-1);
    return record?.revokedAtMs === undefined ? record : undefined;
  }

  /** The current certificate of a member. */
  current(peerId: string, nowMs: number): MemberRecord | undefined {
    const record = this.newest(peerId);
    return record !== undefined && nowMs <= record.notAfterMs + CLOCK_SKEW_MS ? record : undefined;
  }

  /**
   * The certificate of a member whose life ended at most `graceMs` ago.
   * @throws FleetError REVOKED, NOT_A_MEMBER
   */
  require(peerId: string, clock: { nowMs: number; graceMs?: number }): MemberRecord {
    const rows = this.#byPeer.get(peerId);
    const record = rows?.at(-1);
    if (record?.revokedAtMs !== undefined) {
      throw new FleetError(
        'REVOKED',
        `the membership of ${record.node} was revoked; another node may have taken its name`,
      );
    }
    const endMs = (record?.notAfterMs ?? 0) + CLOCK_SKEW_MS + (clock.graceMs ?? 0);
    if (record === undefined || clock.nowMs > endMs) {
      throw new FleetError('NOT_A_MEMBER', 'no current membership; enrol with a join token');
    }
    return record;
  }

  /** Certificates of a peer that are not revoked and end after `nowMs`, oldest first. */
  live(peerId: string, nowMs: number): MemberRecord[] {
    const rows = this.#byPeer.get(peerId) ?? [];
    return rows.filter((row) => row.revokedAtMs === undefined && row.notAfterMs >= nowMs);
  }

  /** Such certificates of every peer that carry this node name. */
  liveOfNode(node: string, nowMs: number): MemberRecord[] {
    const peers = [...(this.#byNode.get(node) ?? [])];
    return peers.flatMap((peerId) => this.live(peerId, nowMs)).filter((row) => row.node === node);
  }

  /** Whether there is a certificate of any kind of the peer. */
  has(peerId: string): boolean {
    return this.#byPeer.has(peerId);
  }

  /** Number of peers with a certificate of any kind. */
  get size(): number {
    return this.#byPeer.size;
  }

  /** Current members. */
  members(nowMs: number): MemberRecord[] {
    const found: MemberRecord[] = [];
    for (const peerId of this.#byPeer.keys()) {
      const record = this.current(peerId, nowMs);
      if (record !== undefined) found.push(record);
    }
    return found;
  }

  /** Number of current members. */
  count(nowMs: number): number {
    return this.members(nowMs).length;
  }

  /** Certificates of a peer, revoked ones too, that were signed after `sinceMs`. */
  signedSince(peerId: string, sinceMs: number): number {
    const rows = this.#byPeer.get(peerId) ?? [];
    return rows.filter((row) => row.notBeforeMs > sinceMs).length;
  }

  /**
   * Those of peers that are out come first: members, whose surplus certificates are revoked too,
   * must not push them out of a list that is full. Otherwise the newest first.
   */
  revokedSerials(): number[] {
    const out: number[] = [];
    const surplus: number[] = [];
    for (const rows of this.#byPeer.values()) {
      const list = rows.at(-1)?.revokedAtMs === undefined ? surplus : out;
      for (const row of rows) if (row.revokedAtMs !== undefined) list.push(row.serial);
    }
    return [...newestFirst(out), ...newestFirst(surplus)].slice(0, this.#revokedMax);
  }

  /** JSON of the members answer; made once for each version and at most once in `maxAgeMs`. */
  snapshot(nowMs: number, maxAgeMs: number): Buffer {
    const known = this.#snapshot;
    if (known?.version === this.#version && nowMs - known.atMs < maxAgeMs) return known.body;
    const body = Buffer.from(
      JSON.stringify({
        version: this.#version,
        memberships: this.members(nowMs).map(({ text }) => text),
        revokedSerials: this.revokedSerials(),
      }),
    );
    this.#snapshot = { version: this.#version, atMs: nowMs, body };
    return body;
  }

  /** The same with only the certificates signed after `since`; undefined: that is not known. */
  delta(nowMs: number, since: number): Buffer | undefined {
    if (!Number.isSafeInteger(since) || since <= 0 || since >= this.#version) return undefined;
    const known = this.#deltas.get(since);
    if (known !== undefined) return known;
    const changed = this.members(nowMs).filter(({ serial }) => serial > since);
    const body = Buffer.from(
      JSON.stringify({
        version: this.#version,
        since,
        memberships: changed.map(({ text }) => text),
        revokedSerials: this.revokedSerials(),
      }),
    );
    if (this.#deltas.size < MEMBER_DELTAS_MAX) this.#deltas.set(since, body);
    return body;
  }

  #leaveNode(node: string, peerId: string): void {
    const peers = this.#byNode.get(node);
    peers?.delete(peerId);
    if (peers?.size === 0) this.#byNode.delete(node);
  }
}

function peerOf({ peerId }: CertificateRow): string {
  return peerId;
}

function newestFirst(serials: number[]): number[] {
  return serials.sort((a, b) => b - a);
}
