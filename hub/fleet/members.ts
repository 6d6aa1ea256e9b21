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
  MEMBERS_LOOK_GAP_MS,
  MEMBER_WRITES_QUEUE_MAX,
  RENEW_EARLIEST_PART,
  RENEW_GRACE_MS,
} from './constants.ts';
import { FleetError } from './errors.ts';
import { FreshLook } from './fresh-look.ts';
import type { JoinTokens } from './join-tokens.ts';
import { MemberTable, type MemberRecord } from './member-table.ts';
import type { FleetMetrics } from './metrics.ts';
import type { CertificateRow, FleetStore, MembersChange } from './store.ts';

type MembersOptions = {
  fleetId: string;
  /** Whether other hubs change the same members. */
  shared: boolean;
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

/** Where an agent can be reached, as it says. */
type Endpoint = Pick<RenewRequest, 'addresses' | 'libp2pPort' | 'lanePort' | 'version'>;
/** Where a request came from, and the time that it was signed with. */
export type Sender = { remote: string | undefined; timeMs: number };

/** What a change came to, to be told here when it is in the store. */
type Changed = { number: number; row?: CertificateRow; revoked: readonly number[]; nowMs: number };
type Work<Result> = (change: MembersChange, done: (changed: Changed) => void) => Promise<Result>;

/**
 * Who is in the fleet: enrols, renews and revokes, one change after the other, over all hubs that
 * share the catalog. What others changed is known after a look, and before each change of ours.
 */
export class Members {
  readonly table = new MemberTable();
  readonly #options: MembersOptions;
  readonly #modules: MembersModules;
  readonly #writes = new Semaphore({ permits: 1, queueMax: MEMBER_WRITES_QUEUE_MAX });
  /** Learns what other hubs changed; undefined when there are none. */
  readonly look: (() => Promise<void>) | undefined;

  private constructor(options: MembersOptions, modules: MembersModules) {
    this.#options = options;
    this.#modules = modules;
    const look = new FreshLook(
      { gapMs: MEMBERS_LOOK_GAP_MS },
      { look: async () => this.#follow(await modules.store.changesSince(this.table.version)) },
    );
    this.look = options.shared ? () => look.ask() : undefined;
  }

  /** Reads the stored members. */
  static async open(options: MembersOptions, modules: MembersModules): Promise<Members> {
    const members = new Members(options, modules);
    // What is changed after this is read may be among the rows already, and is read again.
    const version = await modules.store.lastSerial();
    members.table.follow(await modules.store.changesSince(0));
    members.table.version = Math.max(version, members.table.version);
    members.forget();
    return members;
  }

  /**
   * Lets an agent in that holds a join token and proved to hold the key of `peerId`. Another key
   * that had the node name loses its membership.
   * @throws FleetError INVALID_NAME, TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_USED_UP, FLEET_FULL, BUSY,
   *   REPLAYED
   */
  async enrol(request: EnrolRequest, sender: Sender): Promise<MemberRecord> {
    const { metrics } = this.#modules;
    try {
      const { token, node } = request;
      if (!isNodeName(node)) {
        throw new FleetError('INVALID_NAME', 'a node name is letters, digits, ".", "_" and "-"');
      }
      // Before the queue: who has no token must not fill it.
      const tokenId = await this.#modules.tokens.check(token, this.#options.now());
      const { others, isNew } = await this.#write((change, done) =>
        this.#enrol({ request, tokenId, sender }, change, done),
      );
      metrics.enrolments.inc({ result: 'ok' });
      const record = this.#record(request.peerId);
      if (others.length > 0) this.#reportConflict(node, others);
      if (isNew) {
        const { peerId, zone, addresses } = record;
        this.#modules.logger.info({ node, peerId, zone, addresses, tokenId }, 'agent enrolled');
      }
      return record;
    } catch (err) {
      metrics.enrolments.inc({ result: err instanceof FleetError ? err.code : 'INTERNAL' });
      throw err;
    }
  }

  /**
   * A certificate with a later end and the present addresses; the old one when it is young and
   * nothing changed.
   * @throws FleetError NOT_A_MEMBER, REVOKED, REPLAYED, BUSY
   */
  async renew(peerId: string, endpoint: Endpoint, sender: Sender): Promise<MemberRecord> {
    await this.#write(async (change, done) => {
      await noteCall(change, 'renew', peerId, sender);
      await this.#renew({ peerId, endpoint, sender }, change, done);
    });
    return this.#record(peerId);
  }

  /** Ends the membership of a node; false when the name is not in use. */
  async revokeNode(node: string): Promise<boolean> {
    const revoked = await this.#write(async (change, done) => {
      const nowMs = this.#options.now();
      const live = this.table.liveOfNode(node, this.#renewableSince());
      const serials = live.map((row) => row.serial);
      if (serials.length === 0) return serials;
      const number = await change.nextSerial();
      await change.revoke(serials, { nowMs, changed: number });
      done({ number, revoked: serials, nowMs });
      return serials;
    });
    if (revoked.length === 0) return false;
    this.#modules.logger.warn({ node, serials: revoked }, 'membership revoked by an operator');
    return true;
  }

  /** Forgets certificates here that nobody can renew any more. */
  forget(): void {
    this.table.purge(this.#options.now() - 2 * RENEW_GRACE_MS);
  }

  /** Deletes such certificates in the store; one hub is enough. */
  async purge(): Promise<void> {
    const nowMs = this.#options.now();
    const endedMs = nowMs - 2 * RENEW_GRACE_MS;
    // Later requests are refused for their age, whichever hub's clock says so.
    await this.#modules.store.purge({ endedMs, calledMs: nowMs - 3 * CLOCK_SKEW_MS });
  }

  async #renew(
    { peerId, endpoint, sender }: { peerId: string; endpoint: Endpoint; sender: Sender },
    change: MembersChange,
    done: (changed: Changed) => void,
  ): Promise<void> {
    const nowMs = this.#options.now();
    const old = this.table.require(peerId, { nowMs, graceMs: RENEW_GRACE_MS });
    const who = { peerId, node: old.node };
    const next = this.#membershipOf(who, { ...endpoint, ...sender }, nowMs);
    const same =
      next.zone === old.zone &&
      next.libp2pPort === old.libp2pPort &&
      next.lanePort === old.lanePort &&
      next.addresses.join() === old.addresses.join();
    if ((isYoung(old, nowMs) && same) || this.#changesTooOften(old, nowMs)) return;
    const revoked = this.#surplus(peerId, old.node, nowMs);
    done(await this.#issue(next, { build: endpoint.version, revoked }, change));
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

  async #enrol(
    { request, tokenId, sender }: { request: EnrolRequest; tokenId: string; sender: Sender },
    change: MembersChange,
    done: (changed: Changed) => void,
  ): Promise<{ others: number[]; isNew: boolean }> {
    const { peerId, node } = request;
    const nowMs = this.#options.now();
    await noteCall(change, 'enrol', peerId, sender);
    const known = this.table.current(peerId, nowMs);
    // An agent that lost our answer may ask again without another use of its token.
    const again = known?.node === node;
    if (again && this.#changesTooOften(known, nowMs)) return { others: [], isNew: false };
    if (known === undefined && this.table.size >= MEMBERS_MAX) {
      throw new FleetError('FLEET_FULL', `the fleet has ${MEMBERS_MAX} members already`);
    }
    // Ended ones too, as long as their key could renew them.
    const sinceMs = this.#renewableSince();
    const named = this.table.liveOfNode(node, sinceMs);
    const others = named.filter((row) => row.peerId !== peerId).map((row) => row.serial);
    const own = this.table.live(peerId, sinceMs);
    const former = own.filter((row) => row.node !== node).map((row) => row.serial);
    const next = this.#membershipOf({ peerId, node }, { ...request, ...sender }, nowMs);
    const verdict = again ? 'ok' : await change.useToken({ tokenId, nowMs });
    if (verdict !== 'ok') {
      const code = verdict === 'expired' ? 'TOKEN_EXPIRED' : 'TOKEN_USED_UP';
      throw new FleetError(code, `the join token is ${verdict}; make a new one with the hub`);
    }
    const revoked = [...others, ...former, ...this.#surplus(peerId, node, nowMs)];
    done(await this.#issue(next, { build: request.version, revoked }, change));
    return { others, isNew: true };
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
    endpoint: Endpoint & Pick<Sender, 'remote'>,
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
    { build, revoked }: { build: string; revoked: readonly number[] },
    change: MembersChange,
  ): Promise<Changed> {
    const serial = await change.nextSerial();
    const { fleetId: _fleetId, ...fields } = membership;
    const certificate = signMembership({ ...membership, serial }, this.#modules.signingKey());
    const own = { serial, changed: serial, revokedAtMs: undefined };
    const row: CertificateRow = { ...fields, ...own, certificate, build };
    const nowMs = membership.notBeforeMs;
    await change.put(row);
    await change.revoke(revoked, { nowMs, changed: serial });
    return { number: serial, row, revoked, nowMs };
  }

  /** Runs a change, in turn; what it came to counts here when it is in the store. */
  async #write<Result>(work: Work<Result>): Promise<Result> {
    const { store } = this.#modules;
    return this.#inTurn(async () => {
      let changed: Changed | undefined;
      const result = await store.changeMembers(async (change) => {
        changed = undefined;
        if (this.#options.shared) this.#follow(await change.changesSince(this.table.version));
        return work(change, (own) => (changed = own));
      });
      if (changed !== undefined) this.#tell(changed);
      return result;
    });
  }

  #tell({ number, row, revoked, nowMs }: Changed): void {
    const { metrics } = this.#modules;
    if (row !== undefined) {
      metrics.certificates.inc();
      this.table.add(row);
    }
    if (revoked.length > 0) {
      metrics.revocations.inc(revoked.length);
      const clock = { nowMs, changed: number };
      for (const peer of this.table.revoke(new Set(revoked), clock)) this.#modules.onGone(peer);
    }
    // A look may have seen it, and more, already.
    this.table.version = Math.max(number, this.table.version);
  }

  #follow(rows: readonly CertificateRow[]): void {
    for (const peerId of this.table.follow(rows)) this.#modules.onGone(peerId);
  }

  #record(peerId: string): MemberRecord {
    return this.table.require(peerId, { nowMs: this.#options.now() });
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

async function noteCall(
  change: MembersChange,
  call: string,
  peerId: string,
  { timeMs }: Sender,
): Promise<void> {
  if (await change.noteCall(call, peerId, timeMs)) return;
  throw new FleetError('REPLAYED', 'a later request of this agent came before; ask again');
}

function isYoung(record: MemberRecord, nowMs: number): boolean {
  const lifeMs = record.notAfterMs - record.notBeforeMs;
  return nowMs < record.notBeforeMs + lifeMs * RENEW_EARLIEST_PART;
}
