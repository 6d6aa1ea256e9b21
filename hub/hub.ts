import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import fastify, { type FastifyInstance } from 'fastify';
import { readBuildInfo } from '../proto/ops/build-info.ts';
import type { BuildInfo } from '../proto/ops/build-info.ts';
import { claimFolder } from '../proto/ops/folder-lock.ts';
import type { Logger } from '../proto/ops/logger.ts';
import { MetricsRegistry } from '../proto/ops/metrics.ts';
import { linkCard } from '../proto/ops/link-speed.ts';
import { startOpsServer } from '../proto/ops/ops-server.ts';
import { abortable } from '../proto/std/abort.ts';
import { makeDurableFolder } from '../proto/std/durable-folder.ts';
import { messageOf } from '../proto/std/errors.ts';
import { Administration } from './access/administration.ts';
import { openAccess, type Access } from './access/access.ts';
import { Rights } from './access/rights.ts';
import { apiRoutes } from './api/routes.ts';
import { registerApi } from './api/server.ts';
import { openBlobStore } from './blobs/open-store.ts';
import type { BlobStore } from './blobs/port.ts';
import { KyselyAccessStore } from './catalog/access-store.ts';
import type { AccessTables } from './catalog/access-tables.ts';
import { KyselyFleetStore, type FleetTables } from './catalog/fleet-store.ts';
import { KyselyObjectIndex, type ObjectTables } from './catalog/object-index.ts';
import type { OpenCatalog } from './catalog/open-catalog.ts';
import { openConfiguredCatalog } from './catalog/open-configured.ts';
import type { Catalog } from './catalog/port.ts';
import { enterCatalog } from './catalog/presence.ts';
import { KyselyUploadStore, type UploadTables } from './catalog/upload-store.ts';
import { createFleet, type Fleet } from './fleet/fleet.ts';
import type { PurgedList } from './gc/purges.ts';
import { startGc, type Gc } from './gc/start.ts';
import { createBaseUrl } from './http/base-url.ts';
import { createCallerOf } from './http/caller-of.ts';
import { PATH_NAME_MAX_CHARS } from './http/constants.ts';
import { createGuard } from './http/guard.ts';
import { startServers } from './http/servers.ts';
import { registerTokenRoutes } from './http/token-routes.ts';
import { checkedOptions, type HubConfig } from './options.ts';
import { holderOf } from './registry/holder.ts';
import { createRegistryMetrics } from './registry/metrics.ts';
import { Registry } from './registry/registry.ts';
import { createUplinkMetrics } from './uplink/metrics.ts';
import { Uplink } from './uplink/uplink.ts';

export type HubModules = { logger: Logger; build?: BuildInfo };

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
 * errors of the catalog
 */
export async function startHub(config: HubConfig, modules: HubModules): Promise<Hub> {
  const { logger, build = readBuildInfo() } = modules;
  await using starting = new AsyncDisposableStack();
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  metrics.collectProcess(build);
  const { dataDir, names } = config.hub;
  const { listen, trustedProxies } = config.http;
  const { externalUrl, certificate, postgres } = checkedOptions(config);
  const keysDir = path.join(dataDir, 'keys');
  starting.use(await claimFolder(dataDir, 'hub.dataDir', makeDurableFolder));
  const catalog = await openConfiguredCatalog(postgres, dataDir);
  starting.defer(() => catalog.close());
  if (postgres !== undefined) starting.use(await enterCatalog(catalog.db, 'hub'));
  const blobs = await openBlobs(config, catalog);
  starting.defer(() => blobs.close());
  const holder = await holderOf(dataDir);
  const gc = await startGc({ ...config, holder }, starting, { catalog, blobs, metrics, logger });
  const news = purgeModules(gc);
  const room = await openRoom(config, { keysDir, catalog, news, metrics, logger });
  const { fleet, access } = room;
  starting.defer(() => fleet.close());
  const callerOf = createCallerOf({ trustedProxies });
  const baseUrl = createBaseUrl({ externalUrl, tls: certificate !== undefined, trustedProxies });
  const registry = new Registry(
    { names, sparse: sparseOf(config), holder },
    {
      blobs,
      catalog,
      uploads: await openUploads(catalog, { holder, shared: postgres !== undefined }),
      guard: createGuard({ access, baseUrl, callerOf, catalog }),
      statementFor: (digest) => fleet.statementFor(digest),
      uplink: await openUplink(config, { metrics, logger }),
      callerOf,
      metrics: (uploadsOpen) => createRegistryMetrics(metrics, uploadsOpen),
      logger,
    },
  );
  starting.defer(() => registry.close());
  const api = await startApi({ ...room, gc, version: build.version, callerOf, logger });
  starting.defer(() => api.close());
  const servers = await startServers(
    { listen, certificate },
    { listener: listenerOf(registry, api), logger },
  );
  starting.defer(() => servers.close());
  const state = { draining: false };
  const ops = await startOpsServer({
    listen: config.ops.listen,
    registry: metrics,
    live: () => ({ ok: true, reasons: [] }),
    ready: () => readiness(state, { blobs, catalog }),
    logger,
  });
  starting.defer(() => ops.close());
  logger.info({ urls: servers.urls, ops: ops.urls }, 'hub serves');
  const running = starting.move();
  return {
    urls: servers.urls,
    opsUrls: ops.urls,
    drainMs: config.ops.drainTimeout,
    createJoinToken: (wish) => fleet.createJoinToken(wish),
    drain: async (deadline) => {
      state.draining = true;
      servers.stopListening();
      await abortable(registry.drain(), deadline).catch(() => undefined);
    },
    close: () => running.disposeAsync(),
  };
}

function openBlobs(
  { blobs, hub }: Pick<HubConfig, 'blobs' | 'hub'>,
  { db }: Pick<OpenCatalog, 'db'>,
): Promise<BlobStore> {
  const index = new KyselyObjectIndex({ db: db.withTables<ObjectTables>() });
  return openBlobStore(blobs, { dataDir: hub.dataDir, index });
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

function purgeModules({ purges }: Gc): PurgeModules {
  return {
    purged: () => purges.list,
    purgeActed: (...acted) => void purges.noteActed(...acted),
  };
}

type PurgeModules = {
  purged: () => PurgedList;
  purgeActed: (peerId: string, version: string) => void;
};

/** The fleet and the rights in it: each needs something of the other. */
async function openRoom(
  config: HubConfig,
  modules: {
    keysDir: string;
    catalog: OpenCatalog;
    news: PurgeModules;
    metrics: MetricsRegistry;
    logger: Logger;
  },
): Promise<{ fleet: Fleet; access: Access; administration: Administration }> {
  const { keysDir, catalog, news, metrics, logger } = modules;
  const { dataDir, names: hubNames } = config.hub;
  const { trustedProxies } = config.http;
  const store = new KyselyAccessStore({ db: catalog.db.withTables<AccessTables>() });
  const rights = new Rights({ now: Date.now }, { store });
  const own: { access?: Access } = {};
  const fleet = await createFleet(
    { config: config.fleet, keysDir, hubNames, trustedProxies },
    {
      store: new KyselyFleetStore({ db: catalog.db.withTables<FleetTables>() }),
      catalog,
      isPublic: (repository) => rights.isPublic(repository),
      privateRights: {
        lend: async (...ask) => own.access?.lend(...ask),
        mayRead: async (...ask) => (await own.access?.mayRead(...ask)) ?? false,
      },
      ...news,
      metrics,
      logger,
    },
  );
  const { tokenKeys } = fleet;
  const access = await openAccess(config.access, { dataDir, tokenKeys, rights, store, logger });
  own.access = access;
  const { adminUsername } = config.access;
  const { passwords } = access;
  const administration = new Administration(
    { adminUsername, now: Date.now },
    { store, rights, passwords, logger },
  );
  return { fleet, access, administration };
}

function sparseOf({ registry }: HubConfig): { indexes: boolean; images: boolean } {
  return { indexes: registry.sparseIndexes, images: registry.sparseImages };
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

function listenerOf(registry: Registry, api: FastifyInstance) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    // A request may name the whole URL (RFC 9112 section 3.2.2).
    const target = request.url?.replace(/^https?:\/\/[^/?]*/i, '') ?? '';
    request.url = target;
    if (/^\/v2(?:[/?]|$)/.test(target)) void registry.handle(request, response);
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
  gc: Gc;
  version: string;
  callerOf: (request: IncomingMessage) => string;
  logger: Logger;
}) {
  const { fleet, access, administration, gc, callerOf, logger } = modules;
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: PATH_NAME_MAX_CHARS },
  });
  fleet.routes(app);
  registerTokenRoutes(app, { access, callerOf });
  registerApi(app, {
    access,
    callerOf,
    routes: apiRoutes({ administration, fleet, gc, logger }),
    version: modules.version,
    logger,
  });
  await app.ready();
  return app;
}
