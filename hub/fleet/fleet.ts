import type { KeyObject } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { UpstreamName } from '../../proto/hubapi/schemas.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { isZoneName } from '../../proto/trust/membership.ts';
import type { Chores } from '../catalog/chores.ts';
import { networksOf } from './address-policy.ts';
import { Announcements } from './announcements.ts';
import { BlobSizes, type ComingBlobs } from './blob-sizes.ts';
import { BundleKeys } from './bundle-keys.ts';
import { Callers, type CallerRequest } from './callers.ts';
import { PURGE_MS, SHARED_POLL_MS, TOKEN_KEYS_KEPT, TRACKER_SWEEP_MS } from './constants.ts';
import { Grants, type PrivateRights, type Reach } from './grants.ts';
import type { PrefetchDesk } from './prefetch-desk.ts';
import { JoinTokens } from './join-tokens.ts';
import type { LiveRing } from './live-ring.ts';
import type { MemberRecord, MemberTable } from './member-table.ts';
import { Members } from './members.ts';
import { createFleetMetrics, type FleetMetrics } from './metrics.ts';
import { fleetIdIn, openRing } from './open-ring.ts';
import type { FleetConfig } from './options.ts';
import { FleetRoutes } from './routes.ts';
import { PurgeNews, type PurgeSource } from './purge-news.ts';
import { Statements } from './statements.ts';
import type { FleetStore } from './store.ts';
import { TagStatements } from './tag-statements.ts';
import { Tracker, type TrackerDesk } from './tracker.ts';

export type CreateFleetOptions = {
  config: FleetConfig;
  /** Folder of the keys, normally `<dataDir>/keys`. */
  keysDir: string;
  /** Hosts in image names that mean this hub; agents learn them. */
  hubNames: readonly string[];
  /** Registries whose content this hub has under their own names; agents learn them. */
  upstreams?: readonly UpstreamName[];
  /** Networks of proxies whose X-Forwarded-For is believed. */
  trustedProxies: readonly string[];
  /** Whether other hubs may have the same store. */
  shared: boolean;
  /** Milliseconds since 1970. */
  now?: () => number;
  random?: () => number;
};

export type CreateFleetModules = PurgeSource & {
  store: FleetStore;
  catalog: {
    blobChunks(digest: Digest): Promise<{ size: number; root: Buffer } | undefined>;
    blobIn(repository: string, digest: Digest): Promise<{ size: number } | undefined>;
    reachable(repository: string, digest: Digest): Promise<Reach | undefined>;
    tagged(repository: string, tag: string): Promise<Digest | undefined>;
  };
  /** Blobs that are on their way from upstreams. */
  coming?: ComingBlobs | undefined;
  /** Whether everybody may read the repository. */
  isPublic: (repository: string) => boolean | Promise<boolean>;
  privateRights: PrivateRights;
  chores: Pick<Chores, 'add'>;
  /** What nodes are to have before it is asked for; undefined until that is known. */
  prefetch?: (() => PrefetchDesk | undefined) | undefined;
  /** Where announcements are answered instead, when other hubs answer for some of the blobs. */
  deskOf?: ((part: FleetPart) => TrackerDesk) | undefined;
  metrics: MetricsRegistry;
  logger: Logger;
};

export type FleetNode = Pick<
  MemberRecord,
  'node' | 'zone' | 'peerId' | 'addresses' | 'build' | 'serial' | 'notAfterMs'
>;

/** What of the fleet of this hub answers announcements, its own and those of other hubs. */
export type FleetPart = {
  tracker: Tracker;
  members: {
    /** Text of the certificate of a member. */
    certificateOf: (peerId: string) => string | undefined;
    /** Whether this hub has ever heard of the peer, of its end too. */
    knows: (peerId: string) => boolean;
  };
  /** Blobs on their way to this hub. */
  coming?: ComingBlobs | undefined;
  /** The keys for calls between hubs. */
  keys: Pick<FleetTokenKeys, 'current' | 'find' | 'look'>;
};

export type FleetTokenKeys = {
  current(): SigningKey;
  find(keyId: string): { publicKey: KeyObject; retiredMs?: number } | undefined;
  sealed(tag: string, bytes: Uint8Array): Buffer;
  /** Learns keys of other hubs; undefined when there are none. */
  look: (() => Promise<void>) | undefined;
};

/** The hub's side of the swarm. */
export interface Fleet {
  readonly fleetId: string;
  /** Hex SHA-256 of the root key, as join tokens carry it. */
  readonly rootFingerprint: string;
  /** Adds the routes of the fleet API to the hub's HTTP server. */
  routes(app: FastifyInstance): void;
  /** The signed statement about a chunked blob; says nothing about rights. */
  statementFor(digest: Digest): Promise<Buffer | undefined>;
  /** The key that signs what the hub says of chunks. */
  statementKey(): SigningKey;
  /** Text of a new join token. Life as configured, one use, unless said otherwise. */
  createJoinToken(options?: { expiresInMs?: number; uses?: number }): Promise<string>;
  /**
   * The node that signed a request, for routes outside of the fleet API.
   * Throws FleetError UNSIGNED, BAD_SIGNATURE, CLOCK_SKEW, NOT_A_MEMBER, REVOKED.
   */
  callerOf(request: CallerRequest): Promise<{ peerId: string; node: string; zone: string }>;
  /** The keys for tokens of the token service. */
  readonly tokenKeys: FleetTokenKeys;
  /** Signs tokens with a new key from now on; what the old one signed stays valid. */
  rotateTokenKey(): Promise<void>;
  /** The key that bundles are signed with. */
  readonly bundleKeys: BundleKeys;
  /** See Grants.ordered. */
  orderedGrant(wish: Parameters<Grants['ordered']>[0]): Promise<GrantBundle | undefined>;
  /** The nodes that are members now, by name. */
  nodes(): FleetNode[];
  /** Ends the membership of a node; false when the name is not in use. */
  revokeNode(node: string): Promise<boolean>;
  /** Nodes that have not yet removed all that was taken down, by name. */
  unreachedByPurge(elsewhere?: ReadonlySet<string>): string[];
  close(): Promise<void>;
}

function zonesOf(config: FleetConfig): (node: string) => string {
  for (const [node, zone] of Object.entries(config.zones)) {
    if (!isZoneName(zone)) {
      throw new RangeError(`fleet.zones: "${zone}" of node ${node} is no label of 63 characters`);
    }
  }
  const zones = new Map(Object.entries(config.zones));
  return (node) => zones.get(node) ?? '';
}

const NOBODY: ReadonlySet<string> = new Set();

type Parts = {
  options: Required<CreateFleetOptions>;
  modules: CreateFleetModules;
  ring: LiveRing;
  fleetId: string;
};

function openMembers(
  { options, modules, ring, fleetId }: Parts,
  { tokens, tracker, metrics }: { tokens: JoinTokens; tracker: Tracker; metrics: FleetMetrics },
): Promise<Members> {
  const { config, shared, now } = options;
  return Members.open(
    {
      fleetId,
      shared,
      lifeMs: config.membershipLife,
      allowedNetworks: networksOf(config.addressCidrs),
      zoneOf: zonesOf(config),
      now,
    },
    {
      store: modules.store,
      tokens,
      signingKey: () => ring.signingKey('membership'),
      metrics,
      logger: modules.logger,
      onGone: (peerId) => tracker.forget(peerId),
    },
  );
}

async function assemble(parts: Parts) {
  const { options, modules, ring, fleetId } = parts;
  const { config, now } = options;
  const { store, catalog, isPublic, privateRights, logger } = modules;
  const tracker = new Tracker({
    random: options.random,
    sourceBytesPerSecond: config.sourceRate,
  });
  const tokens = new JoinTokens({ rootFingerprint: ring.fingerprint() }, { store });
  const metrics = createFleetMetrics(modules.metrics, {
    members: () => members.table.count(now()),
    tracker: () => tracker.stats,
  });
  const members = await openMembers(parts, { tokens, tracker, metrics });
  const grants = new Grants(
    { fleetId, lifeMs: config.grantLife, now },
    {
      catalog,
      isPublic,
      lend: (...ask) => privateRights.lend(...ask),
      signingKey: () => ring.signingKey('grant'),
      metrics,
    },
  );
  const tags = new TagStatements(
    { fleetId, now },
    { catalog, isPublic, signingKey: () => ring.signingKey('tag'), metrics },
  );
  const statements = new Statements({
    catalog,
    signingKey: () => ring.signingKey('statement'),
    metrics,
  });
  const { table } = members;
  const callers = new Callers({ now }, { table, look: members.look });
  const announcements = announcementsOf(parts, { tracker, table, metrics });
  const purges = new PurgeNews({ ...modules, table });
  const keyBundle = (): Buffer => ring.bundle();
  const routes = new FleetRoutes(
    {
      fleetId,
      hubNames: options.hubNames,
      upstreams: options.upstreams ?? [],
      trustedProxies: networksOf(options.trustedProxies),
      now,
    },
    {
      members,
      callers,
      grants,
      tags,
      announcements,
      purges,
      prefetch: modules.prefetch ?? (() => undefined),
      keyBundle,
      metrics,
      logger,
    },
  );
  return { tracker, tokens, members, grants, statements, callers, routes, purges };
}

function announcementsOf(
  parts: Parts,
  { tracker, table, metrics }: { tracker: Tracker; table: MemberTable; metrics: FleetMetrics },
): Announcements {
  const { now } = parts.options;
  const { catalog, coming, isPublic, privateRights } = parts.modules;
  const sizes = new BlobSizes({ now }, { catalog, coming });
  const desk = deskOf(parts, tracker, table);
  const rights = { isPublic, privateRights };
  return new Announcements({ now }, { tracker: desk, table, sizes, coming, ...rights, metrics });
}

/**
 * Starts the fleet room: reads or makes the keys, reads the members.
 * @throws KeysError; TrustError MALFORMED for a damaged key file, RangeError for settings out of
 *   range, errors of node:fs and of the store
 */
export async function createFleet(
  options: CreateFleetOptions,
  modules: CreateFleetModules,
): Promise<Fleet> {
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const fleetId = await fleetIdIn(modules.store);
  const { keysDir, shared, config } = options;
  const ring = await openRing(
    { fleetId, keysDir, keys: config.keys, shared, nowMs: now() },
    modules,
  );
  const settings = { upstreams: [], ...options, now, random };
  const room = await assemble({ options: settings, modules, ring, fleetId });
  const { tracker, tokens, members, grants, statements, callers, routes, purges } = room;
  const sweeper = setInterval(() => tracker.sweep(now()), TRACKER_SWEEP_MS);
  const purger = setInterval(() => {
    callers.purge();
    members.forget();
    purges.forget(now());
  }, PURGE_MS);
  modules.chores.add({ name: 'memberships', everyMs: PURGE_MS, run: () => members.purge() });
  const looks = follow(
    [members.look, ring.look].filter((look) => look !== undefined),
    modules.logger,
  );
  sweeper.unref();
  purger.unref();
  return {
    fleetId,
    rootFingerprint: ring.fingerprint(),
    routes: (app) => routes.register(app),
    statementFor: (digest) => statements.statementFor(digest),
    statementKey: () => ring.signingKey('statement'),
    createJoinToken: ({ expiresInMs = options.config.joinTokenLife, uses = 1 } = {}) =>
      tokens.create({ expiresInMs, uses, nowMs: now() }),
    callerOf: async (request) => {
      const { peerId, node, zone } = (await callers.member(request)).record;
      return { peerId, node, zone };
    },
    tokenKeys: {
      current: () => ring.signingKey('token'),
      find: (keyId) => ring.verificationKey('token', keyId),
      sealed: (tag, bytes) => ring.sealed(tag, bytes),
      look: ring.look,
    },
    rotateTokenKey: () =>
      ring.change((next) => next.retire('token', now(), { keep: TOKEN_KEYS_KEPT })),
    bundleKeys: new BundleKeys({ fleetId, now }, { ring }),
    orderedGrant: (wish) => grants.ordered(wish),
    nodes: () => members.table.members(now()).sort((a, b) => (a.node < b.node ? -1 : 1)),
    revokeNode: (node) => members.revokeNode(node),
    unreachedByPurge: (elsewhere = NOBODY) => purges.unreached(now(), elsewhere),
    close: async () => {
      clearInterval(sweeper);
      clearInterval(purger);
      clearInterval(looks);
    },
  };
}

/** Who answers announcements. */
function deskOf({ options, modules, ring }: Parts, tracker: Tracker, table: MemberTable) {
  const part: FleetPart = {
    tracker,
    members: {
      certificateOf: (peerId) => table.current(peerId, options.now())?.text,
      knows: (peerId) => table.has(peerId),
    },
    coming: modules.coming,
    keys: {
      current: () => ring.signingKey('replica'),
      find: (keyId) => ring.verificationKey('replica', keyId),
      look: ring.look,
    },
  };
  return modules.deskOf?.(part) ?? tracker;
}

/** Looks, time and again, at what other hubs changed. */
function follow(looks: readonly (() => Promise<void>)[], logger: Logger): NodeJS.Timeout {
  let failing = false;
  const timer = setInterval(() => {
    Promise.all(looks.map((look) => look())).then(
      () => (failing = false),
      (err: unknown) => {
        if (!failing) logger.warn({ reason: messageOf(err) }, 'changes of other hubs not seen');
        failing = true;
      },
    );
  }, SHARED_POLL_MS);
  return timer.unref();
}
