import { isDeepStrictEqual } from 'node:util';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import {
  EnrolResponse,
  KeysResponse,
  MembersResponse,
  RenewResponse,
  type UpstreamName,
} from '../../proto/hubapi/schemas.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import {
  KEYS_POLL_MS,
  MEMBERS_POLL_MS,
  MEMBERS_RESPONSE_MAX_BYTES,
  MEMBERS_WHOLE_MS,
  RENEW_AFTER_PART,
  RETRY_BASE_MS,
  RETRY_MAX_MS,
} from './constants.ts';
import { FleetError } from './errors.ts';
import type { HubApi } from './hub-api.ts';
import type { NodeIdentity } from './identity.ts';
import type { MemberBook } from './member-book.ts';
import { saveFleetState, type FleetState } from './state.ts';

type RegistrationOptions = {
  dataDir: string;
  rootFingerprint: string;
  joinToken?: string | undefined;
  node: string;
  zone?: string | undefined;
  addresses: readonly string[];
  build: string;
  pollMs?: number;
  now: () => number;
};

/** Where other agents reach the running swarm; no lane port, or 0: no lane. */
export type SwarmPorts = {
  libp2pPort: number;
  lanePort?: number;
  /** Removes what the hub has taken down; resolves when it is gone. */
  purge?: (digests: readonly Digest[]) => Promise<void>;
  /** Told when the hub has said what is taken down, or did not answer. */
  heard?: () => void;
  /** Told when the hub says that this node is to have content before it is asked for. */
  prefetch?: () => void;
};

type RegistrationModules = {
  api: HubApi;
  identity: NodeIdentity;
  trust: TrustStore;
  members: MemberBook;
  logger: Logger;
};

/** Keeps this node a member: enrols, renews, and follows keys and members, for ever. */
export class Registration {
  readonly #options: RegistrationOptions;
  readonly #modules: RegistrationModules;
  readonly #stopped = new AbortController();
  readonly #enrolled = Promise.withResolvers<void>();
  #fleetId = '';
  #hubNames: string[] = [];
  #hubUpstreams: UpstreamName[] = [];
  #keyBundle: Buffer = Buffer.alloc(0);
  #keysAtMs = 0;
  /** When the list was last known to be that of the hub. */
  #wholeAtMs = 0;
  /** Something of that list was not taken, so changes to it are not enough. */
  #hasGaps = false;
  /** Version of the list of what was taken down that this run has acted on. */
  #purgedVersion = '';
  #lastError: string | undefined;
  #failures = 0;
  #renewed = false;
  /** A membership of an earlier run that has ended, which the hub may still renew. */
  #lapsed = false;
  #wasOnline = false;
  #running: Promise<void> | undefined;

  constructor(options: RegistrationOptions, modules: RegistrationModules) {
    this.#options = options;
    this.#modules = modules;
  }

  get fleetId(): string {
    return this.#fleetId;
  }

  get hubNames(): readonly string[] {
    return this.#hubNames;
  }

  get hubUpstreams(): readonly UpstreamName[] {
    return this.#hubUpstreams;
  }

  /** Why the last round failed. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Takes up the membership of an earlier run, as far as it still verifies. */
  restore(state: FleetState): void {
    const { trust, members, logger } = this.#modules;
    try {
      this.#setKeys(Buffer.from(state.keyBundle, 'base64'));
      this.#fleetId = state.fleetId;
      this.#hubNames = state.hubNames;
      this.#hubUpstreams = state.upstreams ?? [];
      if (!this.#restoreOwn(Buffer.from(state.membership, 'base64'))) return;
      const { memberships, ...rest } = state.members;
      const certificates = memberships.map((text) => Buffer.from(text, 'base64'));
      members.replace({ ...rest, memberships: certificates });
      this.#enrolled.resolve();
      logger.info({ fleetId: state.fleetId, keys: trust.serial }, 'membership restored');
    } catch (err) {
      logger.warn({ reason: messageOf(err) }, 'stored membership is of no use, enrolling again');
    }
  }

  /** False when the membership has ended. */
  #restoreOwn(certificate: Buffer): boolean {
    const { members, logger } = this.#modules;
    try {
      members.setOwn(certificate);
      return true;
    } catch (err) {
      if (!hasCode(err, 'EXPIRED')) throw err;
      this.#lapsed = true;
      logger.warn({ reason: messageOf(err) }, 'stored membership has ended, asking for a new one');
      return false;
    }
  }

  start(ports: SwarmPorts): void {
    this.#running ??= this.#run(ports);
  }

  whenEnrolled(options: { signal: AbortSignal }): Promise<void> {
    return abortable(this.#enrolled.promise, options.signal);
  }

  async close(): Promise<void> {
    const stop = new FleetError('The fleet client is closed.', { code: 'STOPPED' });
    this.#stopped.abort(stop);
    this.#enrolled.promise.catch(() => {});
    this.#enrolled.reject(stop);
    await this.#running;
  }

  async #run(ports: SwarmPorts): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      // oxlint-disable-next-line no-await-in-loop -- one round after the other
      const waitMs = await this.#round(ports, signal);
      try {
        // oxlint-disable-next-line no-await-in-loop -- one round after the other
        await sleep(waitMs, { signal });
      } catch {
        return;
      }
    }
  }

  /** One round; the time to wait before the next one. */
  async #round(ports: SwarmPorts, signal: AbortSignal): Promise<number> {
    const { api, members, logger } = this.#modules;
    try {
      if (!members.own && this.#lapsed) await this.#rejoin(ports, signal);
      else if (!members.own) await this.#enrol(ports, signal);
      else if (this.#renewalIsDue()) await this.#renew(ports, signal);
      if (this.#options.now() - this.#keysAtMs >= KEYS_POLL_MS) await this.#pollKeys(signal);
      await this.#pollMembers(ports, signal);
      if (this.#failures > 0) logger.info('the hub answers again');
      this.#failures = 0;
      this.#lastError = undefined;
      return (this.#options.pollMs ?? MEMBERS_POLL_MS) * (0.75 + Math.random() / 2);
    } catch (err) {
      if (signal.aborted) return 0;
      this.#onFailure(err);
      const bounds = { baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS };
      return RETRY_BASE_MS + backoffMs(this.#failures, bounds);
    } finally {
      ports.heard?.();
      // Grace ends and begins with the hub's silence, so what is valid may have changed.
      if (api.online !== this.#wasOnline) members.refresh();
      this.#wasOnline = api.online;
    }
  }

  #onFailure(err: unknown): void {
    const reason = messageOf(err);
    const { members, logger } = this.#modules;
    this.#failures++;
    if (reason !== this.#lastError) {
      const remedy = members.own
        ? 'agents go on with the members they know; check the hub and the network to it'
        : 'check hub.url, hub.caFile, and that the join token is neither used up nor expired';
      logger.warn({ err, remedy }, members.own ? 'the hub does not answer' : 'enrolment failed');
    }
    this.#lastError = reason;
    // The hub does not know us: its database is younger than our membership.
    if (err instanceof FleetError && err.data.code === 'HUB_STATUS') {
      const forgotten = err.data.hubCode === 'NOT_A_MEMBER';
      if (forgotten && this.#options.joinToken !== undefined) members.clearOwn();
    }
  }

  #endpoint({ libp2pPort, lanePort = 0 }: SwarmPorts) {
    const { addresses, build } = this.#options;
    return { addresses: [...addresses], libp2pPort, lanePort, version: build };
  }

  async #enrol(ports: SwarmPorts, signal: AbortSignal): Promise<void> {
    const { api, identity, members, logger } = this.#modules;
    const { joinToken, node, zone } = this.#options;
    if (joinToken === undefined) {
      throw new FleetError('No membership and no join token; set hub.joinToken.', {
        code: 'NOT_ENROLLED',
      });
    }
    const answer = await api.call(
      {
        name: 'enrol',
        method: 'POST',
        path: FLEET_PATHS.enrol,
        body: {
          token: joinToken.trim(),
          node,
          peerId: identity.peerId,
          ...(zone === undefined ? {} : { zone }),
          ...this.#endpoint(ports),
        },
        schema: EnrolResponse,
      },
      { signal },
    );
    this.#setKeys(Buffer.from(answer.keyBundle, 'base64'));
    this.#fleetId = answer.fleetId;
    this.#wholeAtMs = 0;
    this.#hubNames = answer.hubNames;
    this.#hubUpstreams = answer.upstreams ?? [];
    this.#setOwn(answer.membership);
    await this.#save();
    this.#renewed = true;
    this.#enrolled.resolve();
    logger.info({ fleetId: answer.fleetId, node, peerId: identity.peerId }, 'enrolled');
    logger.debug({ own: members.own?.membership }, 'membership received');
  }

  /** The key alone is enough for some days after the end; what follows then needs a token. */
  async #rejoin(ports: SwarmPorts, signal: AbortSignal): Promise<void> {
    try {
      await this.#renew(ports, signal);
    } catch (err) {
      const hubCode = err instanceof FleetError && 'hubCode' in err.data ? err.data.hubCode : '';
      if (hubCode !== 'NOT_A_MEMBER' && hubCode !== 'REVOKED') throw err;
      this.#lapsed = false;
      await this.#enrol(ports, signal);
    }
  }

  // Also once in each run: address and ports may have changed while this node was down.
  #renewalIsDue(): boolean {
    const own = this.#modules.members.own?.membership;
    if (!own || !this.#renewed) return own !== undefined;
    const lifeMs = own.notAfterMs - own.notBeforeMs;
    return this.#options.now() >= own.notBeforeMs + lifeMs * RENEW_AFTER_PART;
  }

  async #renew(ports: SwarmPorts, signal: AbortSignal): Promise<void> {
    const answer = await this.#modules.api.call(
      {
        name: 'renew',
        method: 'POST',
        path: FLEET_PATHS.renew,
        body: this.#endpoint(ports),
        schema: RenewResponse,
      },
      { signal },
    );
    this.#setKeys(Buffer.from(answer.keyBundle, 'base64'));
    this.#setOwn(answer.membership);
    await this.#save();
    this.#renewed = true;
    this.#lapsed = false;
    this.#enrolled.resolve();
    this.#modules.logger.info('membership renewed');
  }

  async #pollKeys(signal: AbortSignal): Promise<void> {
    const answer = await this.#modules.api.call(
      { name: 'keys', method: 'GET', path: FLEET_PATHS.keys, schema: KeysResponse },
      { signal },
    );
    const bundle = Buffer.from(answer.keyBundle, 'base64');
    const changed = !bundle.equals(this.#keyBundle);
    this.#setKeys(bundle);
    if (changed) await this.#save();
  }

  async #pollMembers(ports: SwarmPorts, signal: AbortSignal): Promise<void> {
    const { api, members, logger } = this.#modules;
    const nowMs = this.#options.now();
    const isPart = !this.#hasGaps && nowMs - this.#wholeAtMs < MEMBERS_WHOLE_MS;
    const delta = isPart ? '&delta=1' : '';
    const purged = ports.purge === undefined ? '' : `&purged=${this.#purgedVersion}`;
    const answer = await api.call(
      {
        name: 'members',
        method: 'GET',
        path: `${FLEET_PATHS.members}?version=${members.version}${delta}${purged}`,
        schema: MembersResponse,
        maxBytes: MEMBERS_RESPONSE_MAX_BYTES,
      },
      { signal },
    );
    if (answer.purged !== undefined) {
      await ports.purge?.(answer.purged.digests.map(parseDigest));
      this.#purgedVersion = answer.purged.version;
    }
    if (answer.prefetch === true) ports.prefetch?.();
    const { version, memberships, revokedSerials, upstreams = this.#hubUpstreams } = answer;
    const isNews = !isDeepStrictEqual(upstreams, this.#hubUpstreams);
    this.#hubUpstreams = upstreams;
    if (!memberships || !revokedSerials) {
      this.#wholeAtMs = nowMs;
      if (isNews) await this.#save();
      return;
    }
    const certificates = memberships.map((text) => Buffer.from(text, 'base64'));
    const told = { version, memberships: certificates, revokedSerials };
    const { since } = answer;
    this.#hasGaps = since !== undefined && since !== members.version;
    if (this.#hasGaps) return;
    const take = (): number =>
      (since === undefined ? members.replace(told) : members.patch(told)).refused;
    let refused = take();
    this.#hasGaps = refused > 0;
    if (this.#hasGaps) {
      // Signed with a key that is younger than ours, perhaps.
      await this.#pollKeys(signal);
      refused = take();
      this.#hasGaps = refused > 0;
    }
    if (since === undefined) this.#wholeAtMs = nowMs;
    if (refused > 0) logger.warn({ refused }, 'memberships of the hub that do not verify');
    await this.#save();
  }

  #setKeys(bundle: Buffer): void {
    try {
      this.#modules.trust.load(bundle);
    } catch (cause) {
      throw new FleetError(
        'The keys of the hub do not verify against the fingerprint of the join token.',
        { code: 'HUB_ANSWER_INVALID' },
        { cause },
      );
    }
    const changed = !bundle.equals(this.#keyBundle);
    this.#keyBundle = bundle;
    this.#keysAtMs = this.#options.now();
    // Whatever brought the keys: one of them may be revoked now.
    if (changed) this.#modules.members.reverify();
  }

  #setOwn(certificate: string): void {
    try {
      this.#modules.members.setOwn(Buffer.from(certificate, 'base64'));
    } catch (cause) {
      throw new FleetError(
        'The hub gave a membership that does not verify or is not for this node.',
        { code: 'HUB_ANSWER_INVALID' },
        { cause },
      );
    }
  }

  async #save(): Promise<void> {
    const { members, logger } = this.#modules;
    if (!members.own) return;
    const { memberships, ...rest } = members.snapshot();
    try {
      await saveFleetState(this.#options.dataDir, {
        format: 1,
        fleetId: this.#fleetId,
        rootFingerprint: this.#options.rootFingerprint,
        hubNames: this.#hubNames,
        upstreams: this.#hubUpstreams,
        keyBundle: this.#keyBundle.toString('base64'),
        membership: members.own.bytes.toString('base64'),
        members: {
          version: rest.version,
          memberships: memberships.map((bytes) => bytes.toString('base64')),
          revokedSerials: [...rest.revokedSerials],
        },
      });
    } catch (err) {
      // The membership works without; only a restart during an outage of the hub would not.
      logger.warn({ err }, 'membership cannot be stored; free space in the data folder');
    }
  }
}
