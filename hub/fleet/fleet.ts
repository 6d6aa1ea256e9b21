import { randomBytes, type KeyObject } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { KeyRing } from '../../proto/trust/key-ring.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { isZoneName } from '../../proto/trust/membership.ts';
import { networksOf } from './address-policy.ts';
import { Announcements } from './announcements.ts';
import { Callers, type CallerRequest } from './callers.ts';
import { PURGE_MS, TOKEN_KEYS_KEPT, TRACKER_SWEEP_MS } from './constants.ts';
import { Grants, type PrivateRights, type Reach } from './grants.ts';
import { JoinTokens } from './join-tokens.ts';
import { loadKeyRing, saveKeyRing } from './key-files.ts';
import type { MemberRecord } from './member-table.ts';
import { Members } from './members.ts';
import { createFleetMetrics } from './metrics.ts';
import type { FleetConfig } from './options.ts';
import { FleetRoutes } from './routes.ts';
import { PurgeNews, type PurgeSource } from './purge-news.ts';
import { Statements } from './statements.ts';
import type { FleetStore } from './store.ts';
import { TagStatements } from './tag-statements.ts';
import { Tracker } from './tracker.ts';

const FLEET_ID_BYTES = 8;

export type CreateFleetOptions = {
  config: FleetConfig;
  /** Folder of the keys, normally `<dataDir>/keys`. */
  keysDir: string;
  /** Hosts in image names that mean this hub; agents learn them. */
  hubNames: readonly string[];
  /** Networks of proxies whose X-Forwarded-For is believed. */
  trustedProxies: readonly string[];
  /** Milliseconds since 1970. */
  now?: () => number;
  random?: () => number;
};

export type CreateFleetModules = PurgeSource & {
  store: FleetStore;
  catalog: {
    blobChunks(digest: Digest): Promise<{ size: number; root: Buffer } | undefined>;
    reachable(repository: string, digest: Digest): Promise<Reach | undefined>;
    tagged(repository: string, tag: string): Promise<Digest | undefined>;
  };
  /** Whether everybody may read the repository. */
  isPublic: (repository: string) => boolean | Promise<boolean>;
  privateRights: PrivateRights;
  metrics: MetricsRegistry;
  logger: Logger;
};

export type FleetNode = Pick<
  MemberRecord,
  'node' | 'zone' | 'peerId' | 'addresses' | 'build' | 'serial' | 'notAfterMs'
>;

export type FleetTokenKeys = {
  current(): SigningKey;
  find(keyId: string): { publicKey: KeyObject; retiredMs?: number } | undefined;
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
  /** Text of a new join token. Life as configured, one use, unless said otherwise. */
  createJoinToken(options?: { expiresInMs?: number; uses?: number }): Promise<string>;
  /**
   * The node that signed a request, for routes outside of the fleet API.
   * Throws FleetError UNSIGNED, BAD_SIGNATURE, CLOCK_SKEW, NOT_A_MEMBER, REVOKED.
   */
  callerOf(request: CallerRequest): { peerId: string; node: string; zone: string };
  /** The keys for tokens of the token service. */
  readonly tokenKeys: FleetTokenKeys;
  /** Signs tokens with a new key from now on; what the old one signed stays valid. */
  rotateTokenKey(): Promise<void>;
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
  ring: KeyRing;
  fleetId: string;
};

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
  const members = await Members.open(
    {
      fleetId,
      lifeMs: config.membershipLife,
      allowedNetworks: networksOf(config.addressCidrs),
      zoneOf: zonesOf(config),
      now,
    },
    {
      store,
      tokens,
      signingKey: () => ring.signingKey('membership'),
      metrics,
      logger,
      onGone: (peerId) => tracker.forget(peerId),
    },
  );
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
  const statements = new Statements(
    { now },
    { catalog, signingKey: () => ring.signingKey('statement'), metrics },
  );
  const callers = new Callers({ now }, { table: members.table });
  const announcements = new Announcements(
    { now },
    { tracker, table: members.table, statements, isPublic, privateRights, metrics },
  );
  const purges = new PurgeNews({ ...modules, table: members.table });
  let bundle = { serial: ring.serial, bytes: ring.bundle() };
  const keyBundle = (): Buffer => {
    if (bundle.serial !== ring.serial) bundle = { serial: ring.serial, bytes: ring.bundle() };
    return bundle.bytes;
  };
  const routes = new FleetRoutes(
    {
      fleetId,
      hubNames: options.hubNames,
      trustedProxies: networksOf(options.trustedProxies),
      now,
    },
    { members, callers, grants, tags, announcements, purges, keyBundle, metrics, logger },
  );
  return { tracker, tokens, members, statements, callers, routes, purges };
}

/**
 * Starts the fleet room: reads or makes the keys, reads the members.
 * @throws TrustError MALFORMED for a damaged key file, RangeError for settings out of range, errors
 *   of node:fs and of the store
 */
export async function createFleet(
  options: CreateFleetOptions,
  modules: CreateFleetModules,
): Promise<Fleet> {
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const ring = await loadKeyRing(options.keysDir, now());
  const fresh = `fleet-${randomBytes(FLEET_ID_BYTES).toString('hex')}`;
  const fleetId = await modules.store.settingOnce('fleet-id', fresh);
  const settings = { ...options, now, random };
  const room = await assemble({ options: settings, modules, ring, fleetId });
  const { tracker, tokens, members, statements, callers, routes, purges } = room;
  const sweeper = setInterval(() => tracker.sweep(now()), TRACKER_SWEEP_MS);
  const purger = setInterval(() => {
    callers.purge();
    members.purge().catch((err: unknown) => {
      modules.logger.warn({ reason: messageOf(err) }, 'old memberships could not be deleted');
    });
  }, PURGE_MS);
  sweeper.unref();
  purger.unref();
  return {
    fleetId,
    rootFingerprint: ring.fingerprint(),
    routes: (app) => routes.register(app),
    statementFor: (digest) => statements.statementFor(digest),
    createJoinToken: ({ expiresInMs = options.config.joinTokenLife, uses = 1 } = {}) =>
      tokens.create({ expiresInMs, uses, nowMs: now() }),
    callerOf: (request) => {
      const { peerId, node, zone } = callers.member(request).record;
      return { peerId, node, zone };
    },
    tokenKeys: {
      current: () => ring.signingKey('token'),
      find: (keyId) => ring.verificationKey('token', keyId),
    },
    rotateTokenKey: async () => {
      ring.retire('token', now(), { keep: TOKEN_KEYS_KEPT });
      await saveKeyRing(options.keysDir, ring);
    },
    nodes: () => members.table.members(now()).sort((a, b) => (a.node < b.node ? -1 : 1)),
    revokeNode: (node) => members.revokeNode(node),
    unreachedByPurge: (elsewhere = NOBODY) => purges.unreached(now(), elsewhere),
    close: async () => {
      clearInterval(sweeper);
      clearInterval(purger);
    },
  };
}
