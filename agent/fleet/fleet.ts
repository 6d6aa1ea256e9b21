import { join } from 'node:path';
import { ANNOUNCE_DOWNLOADS_MAX, FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import {
  AnnounceResponse,
  GrantResponse,
  TagResponse,
  type UpstreamName,
} from '../../proto/hubapi/schemas.ts';
import { PrefetchResponse, type PrefetchRequest } from '../../proto/hubapi/prefetch.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { verifyGrant, type GrantBundle } from '../../proto/trust/grant.ts';
import { parseJoinToken } from '../../proto/trust/join-token.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { verifyTagStatement, type TagName } from '../../proto/trust/tag-statement.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import type {
  ShownOptions,
  AnnounceItem,
  AnnounceResult,
  CallOptions,
  FleetClient,
} from '../fetch/ports.ts';
import type { TagAuthority } from '../tags/ports.ts';
import { FleetError } from './errors.ts';
import {
  SHOWN_MAX_CHARS,
  LEARNED_FILE_MAX_BYTES,
  LEARNED_MEMBERS_MAX,
  LEARNED_SAVE_DELAY_MS,
} from './constants.ts';
import { HubApi } from './hub-api.ts';
import { loadIdentity, type NodeIdentity } from './identity.ts';
import { KeptList } from './kept-list.ts';
import { MemberBook } from './member-book.ts';
import type { FleetMetrics } from './metrics.ts';
import { Registration, type SwarmPorts } from './registration.ts';
import { loadFleetState, type FleetState } from './state.ts';

/** Members learned from others, in the data folder. */
const LEARNED_FILE = 'peers.json';

export type FleetOptions = {
  dataDir: string;
  /** https://host[:port] of the hub. */
  url: string;
  allowPlainHttp: boolean;
  /** PEM certificates to believe besides the system's. */
  ca?: string | undefined;
  joinToken?: string | undefined;
  /** Name of this node. */
  node: string;
  zone?: string | undefined;
  /** Addresses proposed to the hub; empty: the hub takes the one it sees. */
  addresses: readonly string[];
  outageGraceMs: number;
  build: string;
  /** Time between two questions for a newer list of members; default MEMBERS_POLL_MS. */
  pollMs?: number;
  now?: () => number;
};

/** State for health pages and metrics. */
export type FleetStatus = {
  enrolled: boolean;
  online: boolean;
  /** Why enrolment, renewal or polling failed last; undefined while they work. */
  lastError: string | undefined;
  members: number;
  /** End of our membership, 0 without one. */
  expiresAtMs: number;
};

export type FleetModules = {
  metrics: (live: () => FleetStatus) => FleetMetrics;
  logger: Logger;
};

/** The membership of this node in a fleet, and its calls to the hub. */
export class Fleet implements FleetClient, TagAuthority {
  readonly identity: NodeIdentity;
  readonly trust: TrustStore;
  readonly members: MemberBook;
  readonly #api: HubApi;
  readonly #registration: Registration;
  readonly #learned: KeptList;
  readonly #watch: Disposable;
  readonly #options: FleetOptions;
  readonly #now: () => number;
  readonly #logger: Logger;
  #excluded: (peerId: string) => boolean = () => false;

  private constructor(parts: {
    options: FleetOptions;
    modules: FleetModules;
    identity: NodeIdentity;
    rootFingerprint: string;
  }) {
    const { options, modules, identity, rootFingerprint } = parts;
    const now = options.now ?? Date.now;
    this.#options = options;
    this.#now = now;
    this.#logger = modules.logger;
    this.identity = identity;
    this.trust = new TrustStore({ rootFingerprint });
    const metrics = modules.metrics(() => this.status());
    this.#api = new HubApi({ ...options, now }, { identity, metrics });
    this.members = new MemberBook(
      { peerId: identity.peerId, now, graceMs: () => this.graceMs() },
      { trust: this.trust, fleetId: () => this.fleetId },
    );
    const { dataDir } = options;
    this.#learned = new KeptList(
      {
        path: join(dataDir, LEARNED_FILE),
        itemsMax: LEARNED_MEMBERS_MAX,
        fileMaxBytes: LEARNED_FILE_MAX_BYTES,
        delayMs: LEARNED_SAVE_DELAY_MS,
      },
      { items: () => this.members.learned(), logger: modules.logger },
    );
    this.#watch = this.members.onChange(() => this.#learned.changed());
    this.#registration = new Registration(
      { ...options, now, rootFingerprint },
      {
        api: this.#api,
        identity,
        trust: this.trust,
        members: this.members,
        logger: modules.logger,
      },
    );
  }

  /**
   * Reads identity and state of the data folder; calls no hub. undefined when this node is in no
   * fleet and has no join token. Throws FleetError IDENTITY_UNREADABLE, HUB_URL_INVALID,
   * PLAIN_HTTP_REFUSED, JOIN_TOKEN_INVALID.
   */
  static async open(options: FleetOptions, modules: FleetModules): Promise<Fleet | undefined> {
    const identity = await loadIdentity(options.dataDir);
    const state = await readState(options.dataDir, modules.logger);
    const known = state?.rootFingerprint;
    const invited = invitationOf(options.joinToken, known, modules.logger);
    const rootFingerprint = invited?.rootFingerprint ?? known;
    if (rootFingerprint === undefined) return undefined;
    const settings = { ...options, joinToken: invited?.joinToken };
    const fleet = new Fleet({ options: settings, modules, identity, rootFingerprint });
    if (state && known === rootFingerprint) {
      fleet.#registration.restore(state);
      await fleet.#restoreLearned();
    } else if (state) {
      modules.logger.warn('the join token is of another fleet; leaving the old one');
    }
    return fleet;
  }

  /** Empty before the enrolment. */
  get fleetId(): string {
    return this.#registration.fleetId;
  }

  /** Hosts in image names that the hub says mean itself. */
  get hubNames(): readonly string[] {
    return this.#registration.hubNames;
  }

  /** Registries whose content the hub has under their own names. */
  get hubUpstreams(): readonly UpstreamName[] {
    return this.#registration.hubUpstreams;
  }

  get online(): boolean {
    return this.#api.online;
  }

  get enrolled(): boolean {
    return this.members.own !== undefined;
  }

  /** How long memberships and grants outlive their end at this moment. */
  graceMs(): number {
    return this.online ? 0 : this.#options.outageGraceMs;
  }

  status(): FleetStatus {
    return {
      enrolled: this.enrolled,
      online: this.online,
      lastError: this.#registration.lastError,
      members: this.members.list().length,
      expiresAtMs: this.members.own?.membership.notAfterMs ?? 0,
    };
  }

  /**
   * Begins to enrol, renew and follow the list of members, and goes on until closed.
   * The ports are those of the running swarm. `excluded`: banned peers, left out of answers.
   */
  start(swarm: SwarmPorts & { excluded?: (peerId: string) => boolean }): void {
    this.#excluded = swarm.excluded ?? this.#excluded;
    this.#registration.start(swarm);
  }

  /** Resolves when this node holds a membership. */
  whenEnrolled(options: { signal: AbortSignal }): Promise<void> {
    return this.#registration.whenEnrolled(options);
  }

  async announce(
    items: AnnounceItem[],
    o: CallOptions & { full?: boolean | undefined },
  ): Promise<AnnounceResult[]> {
    this.#checkEnrolled();
    const results: AnnounceResult[] = [];
    for (let at = 0; at === 0 || at < items.length; at += ANNOUNCE_DOWNLOADS_MAX) {
      const part = items.slice(at, at + ANNOUNCE_DOWNLOADS_MAX);
      // What follows the first part must not make the tracker forget that part.
      const full = o.full === true && at === 0;
      const body = { full, downloads: part.map(announcedOf) };
      // oxlint-disable-next-line no-await-in-loop -- the tracker reads the parts in order
      const answer = await this.#api.call(
        {
          name: 'announce',
          method: 'POST',
          path: FLEET_PATHS.announce,
          body,
          schema: AnnounceResponse,
        },
        o,
      );
      for (const { digest, peers, ...rest } of answer.downloads) {
        results.push({
          digest: parseDigest(digest),
          peers: this.#verified(peers),
          ...rest,
        });
      }
    }
    return results;
  }

  async requestGrant(
    namespace: string,
    repository: string,
    digest: Digest,
    o: ShownOptions,
  ): Promise<GrantBundle | 'not-found'> {
    this.#checkEnrolled();
    // A longer header than this is no token of the hub.
    const { authorization = '' } = o;
    const isShown = authorization !== '' && authorization.length <= SHOWN_MAX_CHARS;
    const { peerId } = this.identity;
    try {
      const answer = await this.#api.call(
        {
          name: 'grant',
          method: 'POST',
          path: FLEET_PATHS.grants,
          body: { namespace, repository, digest, ...(isShown ? { authorization } : {}) },
          schema: GrantResponse,
        },
        o,
      );
      const grant = Buffer.from(answer.grant, 'base64');
      const digests = answer.digests.map(parseDigest);
      const { trust, fleetId } = this;
      verifyGrant(grant, digests, trust, { nowMs: this.#now(), fleetId, peerId });
      return { grant, digests, ...(answer.token === undefined ? {} : { token: answer.token }) };
    } catch (err) {
      if (isAbsent(err)) return 'not-found';
      throw this.#answerFault(err, 'grant', o);
    }
  }

  /** Tells the hub how far tasks of prefetch are, and asks for more. Throws FleetError. */
  prefetch(request: PrefetchRequest, o: CallOptions): Promise<PrefetchResponse> {
    this.#checkEnrolled();
    const { prefetch: path } = FLEET_PATHS;
    const schema = PrefetchResponse;
    return this.#api.call({ name: 'prefetch', method: 'POST', path, body: request, schema }, o);
  }

  /** See TagAuthority. Throws FleetError, HUB_ANSWER_INVALID for what does not verify. */
  async requestTag(name: TagName, o: CallOptions): Promise<Buffer | 'not-found'> {
    this.#checkEnrolled();
    const { namespace, repository, tag } = name;
    try {
      const answer = await this.#api.call(
        {
          name: 'tag',
          method: 'POST',
          path: FLEET_PATHS.tags,
          body: { namespace, repository, tag },
          schema: TagResponse,
        },
        o,
      );
      const bytes = Buffer.from(answer.statement, 'base64');
      const { trust, fleetId } = this;
      verifyTagStatement(bytes, trust, { nowMs: this.#now(), fleetId });
      return bytes;
    } catch (err) {
      if (isAbsent(err)) return 'not-found';
      throw this.#answerFault(err, 'tag statement', o);
    }
  }

  /** Stops the background work and closes the connections to the hub. */
  async close(): Promise<void> {
    this.#watch[Symbol.dispose]();
    await this.#registration.close();
    await this.#learned.close();
    await this.#api.close();
  }

  /** Whom this node knew at the end of its last run besides the list of the hub. */
  async #restoreLearned(): Promise<void> {
    for (const certificate of await this.#learned.load()) {
      try {
        this.members.learn(certificate);
      } catch (err) {
        this.#logger.debug({ reason: messageOf(err) }, 'remembered membership is of no use now');
      }
    }
  }

  #answerFault(err: unknown, what: string, o: CallOptions): Error {
    if (err instanceof FleetError) return err;
    o.signal?.throwIfAborted();
    return new FleetError(
      `The hub gave a ${what} that does not verify.`,
      { code: 'HUB_ANSWER_INVALID' },
      { cause: err },
    );
  }

  #checkEnrolled(): void {
    if (!this.enrolled) {
      throw new FleetError('This node is not enrolled yet.', { code: 'NOT_ENROLLED' });
    }
  }

  #verified(certificates: readonly string[]): Membership[] {
    const peers: Membership[] = [];
    for (const text of certificates) {
      try {
        const membership = this.members.learn(Buffer.from(text, 'base64'));
        const { peerId } = membership;
        if (peerId !== this.identity.peerId && !this.#excluded(peerId)) peers.push(membership);
      } catch (err) {
        this.#logger.debug({ reason: messageOf(err) }, 'membership from the tracker refused');
      }
    }
    return peers;
  }
}

/** A 404 of something in front of the hub says nothing about the content. */
function isAbsent(err: unknown): boolean {
  if (!(err instanceof FleetError)) return false;
  return err.data.code === 'HUB_STATUS' && err.data.hubCode === 'NOT_FOUND';
}

function announcedOf(item: AnnounceItem): object {
  const { have, complete, ...rest } = item;
  return { ...rest, complete, have: complete ? '' : have.toBytes().toString('base64') };
}

/** A node that has joined needs no join token, so that a bad one does not cost it its fleet. */
function invitationOf(
  text: string | undefined,
  known: string | undefined,
  logger: Logger,
): { joinToken: string; rootFingerprint: string } | undefined {
  const joinToken = text?.trim() ?? '';
  if (joinToken === '') return undefined;
  try {
    return { joinToken, rootFingerprint: parseJoinToken(joinToken).rootFingerprint };
  } catch (cause) {
    const message = 'hub.joinToken is not a join token. Make one on the hub, give it to this node.';
    const err = new FleetError(message, { code: 'JOIN_TOKEN_INVALID' }, { cause });
    if (known === undefined) throw err;
    logger.warn({ err }, 'join token is not used: this node has joined before');
    return undefined;
  }
}

async function readState(dataDir: string, logger: Logger): Promise<FleetState | undefined> {
  try {
    return await loadFleetState(dataDir);
  } catch (err) {
    if (!hasCode(err, 'STATE_UNREADABLE')) throw err;
    logger.warn({ err }, 'fleet state is damaged; enrolling again needs a join token');
    return undefined;
  }
}
