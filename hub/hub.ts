import type { IncomingMessage, ServerResponse } from 'node:http';
import { readFile } from 'node:fs/promises';
import fastify, { type FastifyInstance } from 'fastify';
import { readBuildInfo } from '../proto/ops/build-info.ts';
import type { BuildInfo } from '../proto/ops/build-info.ts';
import { claimFolder } from '../proto/ops/folder-lock.ts';
import type { Logger } from '../proto/ops/logger.ts';
import { MetricsRegistry } from '../proto/ops/metrics.ts';
import { linkCard } from '../proto/ops/link-speed.ts';
import { OutageLog } from '../proto/ops/outage-log.ts';
import { startOpsServer, type OpsServer } from '../proto/ops/ops-server.ts';
import { abortable } from '../proto/std/abort.ts';
import { makeDurableFolder } from '../proto/std/durable-folder.ts';
import { messageOf } from '../proto/std/errors.ts';
import { Administration } from './access/administration.ts';
import { type Access } from './access/access.ts';
import { apiRoutes } from './api/routes.ts';
import { answerUnknownPaths, refuseWith } from './api/refusals.ts';
import { registerApi } from './api/server.ts';
import { assertRestored } from './backup/restore-marker.ts';
import { BackupService } from './backup/service.ts';
import { openBlobStore } from './blobs/open-store.ts';
import type { BlobStore } from './blobs/port.ts';
import { KyselyGcStore } from './catalog/gc-store.ts';
import { KyselyObjectIndex, type ObjectTables } from './catalog/object-index.ts';
import { NamedLeases, type LeaseTables } from './catalog/named-lease.ts';
import type { OpenCatalog } from './catalog/open-catalog.ts';
import { openConfiguredCatalog } from './catalog/open-configured.ts';
import type { PostgresSettings } from './catalog/options.ts';
import type { Catalog } from './catalog/port.ts';
import { enterCatalog } from './catalog/presence.ts';
import { KyselyReplicaStore, type ReplicaTables } from './catalog/replica-store.ts';
import { KyselyUploadStore, type UploadTables } from './catalog/upload-store.ts';
import { networksOf } from './fleet/address-policy.ts';
import { type Fleet } from './fleet/fleet.ts';
import { startGc, type Gc } from './gc/start.ts';
import { createBaseUrl } from './http/base-url.ts';
import { createCallerOf } from './http/caller-of.ts';
import { PATH_NAME_MAX_CHARS } from './http/constants.ts';
import { ConnectionShares } from './http/connection-shares.ts';
import { createGuard } from './http/guard.ts';
import { createHttpMetrics } from './http/metrics.ts';
import { startServers, type HubServers } from './http/servers.ts';
import { SlowBodies } from './http/slow-bodies.ts';
import { registerTokenRoutes } from './http/token-routes.ts';
import { Chores } from './catalog/chores.ts';
import { openJobs, type Jobs } from './jobs/start.ts';
import { checkedOptions, type HubConfig } from './options.ts';
import type { Pushed } from './prefetch/policies.ts';
import { type Prefetch } from './prefetch/start.ts';
import { holderOf } from './registry/holder.ts';
import { createRegistryMetrics } from './registry/metrics.ts';
import { Registry, type RegistryModules } from './registry/registry.ts';
import { Replicas } from './replicas/replicas.ts';
import { openAsking, openPulling } from './pulling.ts';
import { openRoom, type Coming, type Room } from './room.ts';
import { openReplication, type ReplicationDesk } from './replication/start.ts';
import { createUplinkMetrics } from './uplink/metrics.ts';
import { Uplink } from './uplink/uplink.ts';

export type HubModules = {
  logger: Logger;
  build?: BuildInfo;
};

export type Hub = {
  urls: readonly string[];
  opsUrls: readonly string[];
  /** How long running answers may take to end in `drain`. */
  drainMs: number;
  createJoinToken(options?: { expiresInMs?: number; uses?: number }): Promise<string>;
  /** New requests get 503; resolves when running ones have ended or `deadline` aborts. */
  drain(deadline: AbortSignal): Promise<void>;
  /** Ends everything, in the reverse order of the start. */
  close(): Promise<void>;
};

/**
 * Starts a hub: the composition root.
 * @throws ConfigError; OpsError LISTEN_FAILED, FOLDER_IN_USE, FOLDER_UNUSABLE; BlobStoreError;
 * BackupError RESTORE_UNFINISHED; errors of the catalog
 */
export async function startHub(config: HubConfig, modules: HubModules): Promise<Hub> {
  const { logger, build = readBuildInfo() } = modules;
  await using starting = new AsyncDisposableStack();
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  metrics.collectProcess(build);
  const { dataDir, names } = config.hub;
  const { listen, trustedProxies } = config.http;
  const { externalUrl, certificate, postgres, advertise } = checkedOptions(config);
  starting.use(await claimFolder(dataDir, 'hub.dataDir', makeDurableFolder));
  await assertRestored(dataDir);
  const storage = await openStorage(config, starting, { postgres, metrics, logger });
  const { catalog, blobs, gc, holder, shared } = storage;
  const upstreams = await openAsking(config, starting, { catalog, metrics, logger, build });
  const others = { advertise, caFile: config.replicas.caFile, holder };
  const replicas = await openReplicas(others, { catalog, metrics, logger });
  const coming: Coming = {};
  const own = { ...storage, replicas, upstreams, coming };
  const room = await openRoom(config, { ...own, metrics, logger });
  const { fleet, access, rights } = room;
  starting.defer(() => fleet.close());
  const callerOf = createCallerOf({ trustedProxies });
  const baseUrl = createBaseUrl({ externalUrl, tls: certificate !== undefined, trustedProxies });
  const uplink = await openUplink(config, { metrics, logger });
  const uploads = await openUploads(catalog, { holder, shared });
  const arrived = (push: Pushed): void => room.prefetch.policies.pushed(push);
  const kept = { ...own, uploads, rights, fleet, arrived, metrics, logger };
  const pull = await openPulling({ dataDir, holder, shared }, starting, kept);
  const jobs = openJobs({ holder }, starting, { catalog, metrics, logger });
  const copying = { ...config.replication, holder };
  const replication = await openReplication(copying, starting, { ...room, ...kept, jobs, build });
  const registry = new Registry(
    { names, sparse: sparseOf(config), holder },
    {
      blobs,
      catalog,
      uploads,
      pushed: pushedOf(room, replication),
      pullThrough: pull?.pullThrough,
      guard: createGuard({ access, baseUrl, callerOf, catalog }),
      statementFor: (digest) => fleet.statementFor(digest),
      provisional: coming.provisional,
      uplink,
      callerOf,
      metrics: (uploadsOpen) => createRegistryMetrics(metrics, uploadsOpen),
      logger,
    },
  );
  starting.defer(() => registry.close());
  const backups = openBackups({ catalog, blobs, hasBlobs: gc.hasBlobs, fleet, build });
  const inside = { ...room, gc, replicas, backups, jobs, replication };
  const api = await startApi({ ...inside, uplink, build, callerOf, logger });
  starting.defer(() => api.close());
  const listener = listenerOf(registry, api);
  const guards = connectionGuards(config, { metrics, logger });
  starting.use(guards.bodies);
  const servers = await startServers({ listen, certificate }, { listener, ...guards, logger });
  starting.defer(() => servers.close());
  starting.defer(async () => replicas?.close());
  // Others ask this hub from then on.
  await replicas?.start();
  jobs.workers.start();
  const state = { draining: false };
  const ready = () => readiness(state, { blobs, catalog });
  const ops = await openOps(config, { metrics, logger, ready });
  starting.defer(() => ops.close());
  logger.info({ urls: servers.urls, ops: ops.urls }, 'hub serves');
  const parts = { servers, ops, fleet, registry, replicas };
  return hubOf({ state, drainMs: config.ops.drainTimeout }, parts, starting.move());
}

function hubOf(
  { state, drainMs }: { state: { draining: boolean }; drainMs: number },
  parts: {
    servers: HubServers;
    ops: { urls: readonly string[] };
    fleet: Fleet;
    registry: Registry;
    replicas: Replicas | undefined;
  },
  running: AsyncDisposableStack,
): Hub {
  const { servers, ops, fleet, registry, replicas } = parts;
  return {
    urls: servers.urls,
    opsUrls: ops.urls,
    drainMs,
    createJoinToken: (wish) => fleet.createJoinToken(wish),
    drain: async (deadline) => {
      state.draining = true;
      await replicas?.leave();
      servers.stopListening();
      await abortable(registry.drain(), deadline).catch(() => undefined);
    },
    close: () => running.disposeAsync(),
  };
}

function isLive(): { ok: boolean; reasons: string[] } {
  return { ok: true, reasons: [] };
}

function openOps(
  { ops: { listen } }: Pick<HubConfig, 'ops'>,
  modules: { metrics: MetricsRegistry; logger: Logger; ready: () => ReturnType<typeof readiness> },
): Promise<OpsServer> {
  const { metrics: registry, logger, ready } = modules;

  return startOpsServer({ listen, registry, live: isLive, ready, logger });
}

/** Who hears of pushes. */
function pushedOf({ prefetch }: Room, { replication }: ReplicationDesk): RegistryModules['pushed'] {
  return async (push) => {
    prefetch.policies.pushed(push);
    await replication.pushed(push);
  };
}

/** What the hub keeps, and the works on it that one hub at a time does. */
async function openStorage(
  config: HubConfig,
  starting: AsyncDisposableStack,
  modules: { postgres: PostgresSettings | undefined; metrics: MetricsRegistry; logger: Logger },
) {
  const { postgres, metrics, logger } = modules;
  const { dataDir } = config.hub;
  const catalog = await openConfiguredCatalog(postgres, { dataDir, logger });
  starting.defer(() => catalog.close());
  const holder = await holderOf(dataDir);
  if (postgres !== undefined) {
    starting.use(await enterCatalog(catalog.db, 'hub', { folder: holder }));
  }
  const blobs = await openBlobs(config, { db: catalog.db, logger });
  starting.defer(() => blobs.close());
  const gc = await startGc({ ...config, holder }, starting, { catalog, blobs, metrics, logger });
  const leases = new NamedLeases({ holder }, { db: catalog.db.withTables<LeaseTables>() });
  const chores = new Chores({ leases, logger });
  starting.defer(() => chores.close());
  return { catalog, blobs, gc, holder, chores, shared: postgres !== undefined };
}

function openBlobs(
  { blobs, hub }: Pick<HubConfig, 'blobs' | 'hub'>,
  { db, logger }: Pick<OpenCatalog, 'db'> & { logger: Logger },
): Promise<BlobStore> {
  const index = new KyselyObjectIndex({ db: db.withTables<ObjectTables>() });
  const outage = new OutageLog({ what: 'the S3 storage' }, { logger });
  return openBlobStore(blobs, { dataDir: hub.dataDir, index, outage });
}

/** What it takes to make backups of this hub while it runs. */
function openBackups(modules: {
  catalog: OpenCatalog;
  blobs: BlobStore;
  hasBlobs: boolean;
  fleet: Fleet;
  build: BuildInfo;
}): BackupService {
  const { catalog, build } = modules;
  const hold = new KyselyGcStore(catalog);
  return new BackupService({ ...modules, hold, build: build.version });
}

/** What this hub held when it died is free again. */
async function openUploads(
  { db }: Pick<OpenCatalog, 'db'>,
  { holder, shared }: { holder: string; shared: boolean },
): Promise<KyselyUploadStore> {
  const uploads = new KyselyUploadStore({ shared }, { db: db.withTables<UploadTables>() });
  await uploads.letGoOf(holder);
  return uploads;
}

function sparseOf({ registry }: HubConfig): { indexes: boolean; images: boolean } {
  return { indexes: registry.sparseIndexes, images: registry.sparseImages };
}

/** This hub's part among those that share its catalog; undefined for one that is alone. */
async function openReplicas(
  options: { advertise: string | undefined; caFile: string | undefined; holder: string },
  modules: { catalog: Pick<OpenCatalog, 'db'>; metrics: MetricsRegistry; logger: Logger },
): Promise<Replicas | undefined> {
  const { advertise: url, caFile, holder } = options;
  if (url === undefined) return undefined;
  const { catalog, metrics, logger } = modules;
  const store = new KyselyReplicaStore({ db: catalog.db.withTables<ReplicaTables>() });
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  return new Replicas({ id: holder, url, ca }, { store, metrics, logger });
}

async function openUplink(
  config: HubConfig,
  modules: { metrics: MetricsRegistry; logger: Logger },
): Promise<Uplink> {
  const card = await linkCard();
  const bytesPerSecond = config.http.uplink ?? card?.bytesPerSecond;
  const fields = { bytesPerSecond, card: card?.name };
  if (bytesPerSecond === undefined) {
    modules.logger.info(
      fields,
      'speed of the uplink unknown, not shared by repository; see http.uplink',
    );
  } else modules.logger.info(fields, 'uplink');
  return new Uplink({ bytesPerSecond }, { metrics: createUplinkMetrics(modules.metrics) });
}

/** What keeps single clients from taking all connections, or holding them for nothing. */
function connectionGuards(
  { http }: Pick<HubConfig, 'http'>,
  modules: { metrics: MetricsRegistry; logger: Logger },
) {
  const metrics = createHttpMetrics(modules.metrics);
  const options = {
    perAddressMax: http.connectionsPerAddress,
    trustedProxies: networksOf(http.trustedProxies),
  };
  return {
    shares: new ConnectionShares(options, { metrics, logger: modules.logger }),
    bodies: new SlowBodies({}, { metrics }),
  };
}

function listenerOf(registry: Registry, api: FastifyInstance) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    if (/^\/v2(?:[/?]|$)/.test(request.url ?? '')) void registry.handle(request, response);
    else api.routing(request, response);
  };
}

/** Whether the hub could take a push now: its catalog answers and its storage takes a blob. */
async function readiness(
  state: { draining: boolean },
  modules: { blobs: Pick<BlobStore, 'probe'>; catalog: Pick<Catalog, 'repositories'> },
): Promise<{ ok: boolean; reasons: string[] }> {
  const reasons = state.draining ? ['draining'] : [];
  const check = async (part: string, work: Promise<unknown>): Promise<void> => {
    try {
      await work;
    } catch (err) {
      reasons.push(`${part}: ${messageOf(err)}`);
    }
  };
  await check('catalog', modules.catalog.repositories({ n: 1 }));
  await check('blobs', modules.blobs.probe());
  return { ok: reasons.length === 0, reasons };
}

/** Everything that is not the registry: fleet API, token service, administration. */
async function startApi(modules: {
  fleet: Fleet;
  access: Access;
  administration: Administration;
  prefetch: Prefetch;
  gc: Gc;
  replicas: Replicas | undefined;
  backups: BackupService;
  jobs: Jobs;
  replication: ReplicationDesk;
  uplink: Uplink;
  build: BuildInfo;
  callerOf: (request: IncomingMessage) => string;
  logger: Logger;
}) {
  const { fleet, access, callerOf, build, logger, ...rest } = modules;
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: PATH_NAME_MAX_CHARS },
    frameworkErrors: (err, _request, reply) => void refuseWith(err, reply, logger),
  });
  answerUnknownPaths(app, logger);
  fleet.routes(app);
  modules.replicas?.routes(app);
  registerTokenRoutes(app, { access, callerOf });
  registerApi(app, {
    access,
    callerOf,
    routes: apiRoutes({ ...rest, rights: access.rights, fleet, callerOf, logger }),
    version: build.version,
    logger,
  });
  await app.ready();
  return app;
}
