import type { BlockList } from 'node:net';
import { MEMBERS_MAX } from '../../proto/hubapi/constants.ts';
import type { EnrolRequest, RenewRequest } from '../../proto/hubapi/schemas.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { isNodeName, signMembership, type Membership } from '../../proto/trust/membership.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { memberAddresses } from './address-policy.ts';
import {
  CERTIFICATES_PER_LIFE_MAX,
  CERTIFICATES_PER_MEMBER_MAX,
  MEMBER_WRITES_QUEUE_MAX,
  RENEW_EARLIEST_PART,
  RENEW_GRACE_MS,
} from './constants.ts';
import { FleetError } from './errors.ts';
import type { JoinTokens } from './join-tokens.ts';
import { MemberTable, type MemberRecord } from './member-table.ts';
import type { FleetMetrics } from './metrics.ts';
import type { CertificateRow, FleetStore } from './store.ts';

type MembersOptions = {
  fleetId: string;
  /** Life of a certificate in ms. */
  lifeMs: number;
  allowedNetworks: BlockList;
  zoneOf: (node: string) => string;
  now: () => number;
};

type MembersModules = {
  store: FleetStore;
  tokens: Pick<JoinTokens, 'check'>;
  signingKey: () => SigningKey;
  metrics: Pick<FleetMetrics, 'enrolments' | 'nodeConflicts' | 'certificates' | 'revocations'>;
  logger: Logger;
  /** Called when a peer has no current certificate any more. */
  onGone: (peerId: string) => void;
};

/** Where an agent can be reached, as it says and as we see it. */
type Endpoint = Pick<RenewRequest, 'addresses' | 'libp2pPort' | 'lanePort' | 'version'> & {
  remote: string | undefined;
};

/** Who is in the fleet: enrols, renews and revokes, one change after the other. */
export class Members {
  readonly table = new MemberTable();
  readonly #options: MembersOptions;
  readonly #modules: MembersModules;
  readonly #writes = new Semaphore({ permits: 1, queueMax: MEMBER_WRITES_QUEUE_MAX });

  private constructor(options: MembersOptions, modules: MembersModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Reads the stored members. */
  static async open(options: MembersOptions, modules: MembersModules): Promise<Members> {
    const members = new Members(options, modules);
    await members.purge();
    for (const row of await modules.store.certificates()) members.table.add(row);
    members.table.version = await modules.store.lastSerial();
    return members;
  }

  /**
   * Lets an agent in that holds a join token and proved to hold the key of `peerId`. Another key
   * that had the node name loses its membership.
   * @throws FleetError INVALID_NAME, TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_USED_UP, FLEET_FULL, BUSY
   */
  async enrol(request: EnrolRequest, remote: string | undefined): Promise<MemberRecord> {
    const { metrics } = this.#modules;
    try {
      const { token, node } = request;
      if (!isNodeName(node)) {
        throw new FleetError('INVALID_NAME', 'a node name is letters, digits, ".", "_" and "-"');
      }
      // Before the queue: who has no token must not fill it.
      const tokenId = await this.#modules.tokens.check(token, this.#options.now());
      const record = await this.#inTurn(() => this.#enrol(request, tokenId, remote));
      metrics.enrolments.inc({ result: 'ok' });
      return record;
    } catch (err) {
      metrics.enrolments.inc({ result: err instanceof FleetError ? err.code : 'INTERNAL' });
      throw err;
    }
  }

  /**
   * A certificate with a later end and the present addresses; the old one when it is young and
   * nothing changed.
   * @throws FleetError NOT_A_MEMBER, REVOKED, BUSY
   */
  renew(peerId: string, endpoint: Endpoint): Promise<MemberRecord> {
    return this.#inTurn(() => this.#renew(peerId, endpoint));
  }

  /** Ends the membership of a node; false when the name is not in use. */
  revokeNode(node: string): Promise<boolean> {
    return this.#inTurn(() => this.#revokeNode(node));
  }

  /** Forgets certificates that nobody can renew any more. */
  async purge(): Promise<void> {
    const endedBeforeMs = this.#options.now() - 2 * RENEW_GRACE_MS;
    await this.#modules.store.purge(endedBeforeMs);
    this.table.purge(endedBeforeMs);
  }

  async #renew(peerId: string, endpoint: Endpoint): Promise<MemberRecord> {
    const nowMs = this.#options.now();
    const old = this.table.require(peerId, { nowMs, graceMs: RENEW_GRACE_MS });
    const next = this.#membershipOf({ peerId, node: old.node }, endpoint, nowMs);
    const same =
      next.zone === old.zone &&
      next.libp2pPort === old.libp2pPort &&
      next.lanePort === old.lanePort &&
      next.addresses.join() === old.addresses.join();
    if ((isYoung(old, nowMs) && same) || this.#changesTooOften(old, nowMs)) return old;
    const surplus = this.#surplus(peerId, old.node, nowMs);
    return await this.#issue(next, endpoint.version, { revoke: surplus });
  }

  /** The oldest certificates of a member that is about to get one more. */
  #surplus(peerId: string, node: string, nowMs: number): number[] {
    const live = this.table.live(peerId, nowMs).filter((row) => row.node === node);
    const count = Math.max(0, live.length + 1 - CERTIFICATES_PER_MEMBER_MAX);
    return live.slice(0, count).map((row) => row.serial);
  }

  #changesTooOften(current: MemberRecord, nowMs: number): boolean {
    if (!isYoung(current, nowMs)) return false;
    const sinceMs = nowMs - (current.notAfterMs - current.notBeforeMs);
    return this.table.signedSince(current.peerId, sinceMs) >= CERTIFICATES_PER_LIFE_MAX;
  }

  async #revokeNode(node: string): Promise<boolean> {
    const nowMs = this.#options.now();
    const serials = this.table.liveOfNode(node, this.#renewableSince()).map((row) => row.serial);
    if (serials.length === 0) return false;
    const { store, logger } = this.#modules;
    await store.revoke(serials, nowMs);
    const version = await store.nextSerial();
    this.#revoked(serials, nowMs);
    this.table.version = version;
    logger.warn({ node, serials }, 'membership revoked by an operator');
    return true;
  }

  async #enrol(
    request: EnrolRequest,
    tokenId: string,
    remote: string | undefined,
  ): Promise<MemberRecord> {
    const { peerId, node } = request;
    const nowMs = this.#options.now();
    const known = this.table.current(peerId, nowMs);
    // An agent that lost our answer may ask again without another use of its token.
    const again = known?.node === node;
    if (again && this.#changesTooOften(known, nowMs)) return known;
    if (known === undefined && this.table.size >= MEMBERS_MAX) {
      throw new FleetError('FLEET_FULL', `the fleet has ${MEMBERS_MAX} members already`);
    }
    // Ended ones too, as long as their key could renew them.
    const sinceMs = this.#renewableSince();
    const named = this.table.liveOfNode(node, sinceMs);
    const others = named.filter((row) => row.peerId !== peerId).map((row) => row.serial);
    const own = this.table.live(peerId, sinceMs);
    const former = own.filter((row) => row.node !== node).map((row) => row.serial);
    const next = this.#membershipOf({ peerId, node }, { ...request, remote }, nowMs);
    const record = await this.#issue(next, request.version, {
      revoke: [...others, ...former, ...this.#surplus(peerId, node, nowMs)],
      ...(again ? {} : { token: { tokenId, nowMs } }),
    });
    if (others.length > 0) this.#reportConflict(node, others);
    this.#modules.logger.info(
      { node, peerId, zone: record.zone, addresses: record.addresses, tokenId },
      'agent enrolled',
    );
    return record;
  }

  #reportConflict(node: string, serials: number[]): void {
    this.#modules.metrics.nodeConflicts.inc();
    this.#modules.logger.warn(
      { node, serials },
      'a node name was enrolled with another key; the earlier membership is revoked. ' +
        'Unless the node was set up anew, revoke it and look who holds a join token',
    );
  }

  #membershipOf(
    who: { peerId: string; node: string },
    endpoint: Endpoint,
    nowMs: number,
  ): Omit<Membership, 'serial'> {
    const { fleetId, lifeMs, allowedNetworks, zoneOf } = this.#options;
    return {
      fleetId,
      ...who,
      zone: zoneOf(who.node),
      addresses: memberAddresses(endpoint.addresses, endpoint.remote, allowedNetworks),
      libp2pPort: endpoint.libp2pPort,
      lanePort: endpoint.lanePort,
      notBeforeMs: nowMs,
      notAfterMs: nowMs + lifeMs,
    };
  }

  async #issue(
    membership: Omit<Membership, 'serial'>,
    build: string,
    change: { revoke: number[]; token?: { tokenId: string; nowMs: number } },
  ): Promise<MemberRecord> {
    const { store, signingKey, metrics } = this.#modules;
    const serial = await store.nextSerial();
    const { fleetId: _fleetId, ...fields } = membership;
    const certificate = signMembership({ ...membership, serial }, signingKey());
    const row: CertificateRow = { ...fields, serial, certificate, build, revokedAtMs: undefined };
    const verdict = await store.putCertificate(row, change);
    if (verdict !== 'ok') {
      const code = verdict === 'expired' ? 'TOKEN_EXPIRED' : 'TOKEN_USED_UP';
      throw new FleetError(code, `the join token is ${verdict}; make a new one with the hub`);
    }
    metrics.certificates.inc();
    this.table.add(row);
    this.#revoked(change.revoke, membership.notBeforeMs);
    this.table.version = serial;
    return this.table.require(row.peerId, { nowMs: membership.notBeforeMs });
  }

  #revoked(serials: readonly number[], nowMs: number): void {
    if (serials.length === 0) return;
    this.#modules.metrics.revocations.inc(serials.length);
    for (const peerId of this.table.revoke(new Set(serials), nowMs)) this.#modules.onGone(peerId);
  }

  #renewableSince(): number {
    return this.#options.now() - RENEW_GRACE_MS - CLOCK_SKEW_MS;
  }

  async #inTurn<T>(task: () => Promise<T>): Promise<T> {
    let turn: Disposable;
    try {
      turn = await this.#writes.acquire();
    } catch (cause) {
      if (!hasCode(cause, 'QUEUE_FULL')) throw cause;
      throw new FleetError('BUSY', 'too many agents enrol at once; try again', { cause });
    }
    try {
      return await task();
    } finally {
      turn[Symbol.dispose]();
    }
  }
}

function isYoung(record: MemberRecord, nowMs: number): boolean {
  const lifeMs = record.notAfterMs - record.notBeforeMs;
  return nowMs < record.notBeforeMs + lifeMs * RENEW_EARLIEST_PART;
}
