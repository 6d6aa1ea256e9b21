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
import { openAccess, type Access } from './access/access.ts';
import { FilesystemBlobStore } from './blobs/filesystem.ts';
import { KyselyFleetStore, type FleetTables } from './catalog/fleet-store.ts';
import type { Catalog } from './catalog/port.ts';
import { openSqliteCatalog } from './catalog/sqlite-catalog.ts';
import { createFleet, type Fleet } from './fleet/fleet.ts';
import { loadKeyRing } from './fleet/key-files.ts';
import { registerJoinTokenRoutes } from './fleet/join-token-routes.ts';
import { createBaseUrl } from './http/base-url.ts';
import { createCallerOf } from './http/caller-of.ts';
import { createGuard } from './http/guard.ts';
import { startServers } from './http/servers.ts';
import { registerTokenRoutes } from './http/token-routes.ts';
import { checkedOptions, type HubConfig } from './options.ts';
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
  const { externalUrl, certificate } = checkedOptions(config);
  const keysDir = path.join(dataDir, 'keys');
  const lock = await claimFolder(dataDir, 'hub.dataDir', makeDurableFolder);
  starting.defer(() => lock[Symbol.dispose]());
  const blobs = await FilesystemBlobStore.open({ root: path.join(dataDir, 'registry') });
  starting.defer(() => blobs.close());
  const catalog = await openSqliteCatalog({ path: path.join(dataDir, 'catalog.sqlite') });
  starting.defer(() => catalog.close());
  const store = new KyselyFleetStore({ db: catalog.db.withTables<FleetTables>() });
  const tokenKey = (await loadKeyRing(keysDir, Date.now())).signingKey('token');
  const access = await openAccess(config.access, { dataDir, tokenKey, logger });
  const fleet = await createFleet(
    { config: config.fleet, keysDir, hubNames: names, trustedProxies },
    { store, catalog, isPublic: anyoneMayPull(access), metrics, logger },
  );
  starting.defer(() => fleet.close());
  const baseUrl = createBaseUrl({ externalUrl, tls: certificate !== undefined, trustedProxies });
  const registry = new Registry(
    {},
    {
      blobs,
      catalog,
      guard: createGuard({ access, baseUrl }),
      statementFor: (digest) => fleet.statementFor(digest),
      uplink: await openUplink(config, { metrics, logger }),
      callerOf: createCallerOf({ trustedProxies }),
      metrics: (uploadsOpen) => createRegistryMetrics(metrics, uploadsOpen),
      logger,
    },
  );
  starting.defer(() => registry.close());
  const api = await startApi({ fleet, access, logger });
  starting.defer(() => api.close());
  const listener = listenerOf(registry, api);
  const servers = await startServers({ listen, certificate }, { listener, logger });
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

/** Agents pass on among themselves only what the registry gives without credentials. */
function anyoneMayPull(access: Access): (repository: string) => boolean {
  return (repository) => access.mayPull({ kind: 'anonymous' }, repository);
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

/** Whether the hub could take a push now: its catalog answers and its disk takes a file. */
async function readiness(
  state: { draining: boolean },
  modules: { blobs: FilesystemBlobStore; catalog: Pick<Catalog, 'repositories'> },
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

/** Everything that is not the registry: fleet API, token service, join tokens. */
async function startApi(modules: { fleet: Fleet; access: Access; logger: Logger }) {
  const { fleet, access, logger } = modules;
  const app = fastify({ logger: false, exposeHeadRoutes: false, forceCloseConnections: true });
  fleet.routes(app);
  registerTokenRoutes(app, { access });
  registerJoinTokenRoutes(app, {
    createJoinToken: (wish) => fleet.createJoinToken(wish),
    isAdmin: async (authorization) => {
      const identity = await access.identify(authorization).catch(() => undefined);
      return identity?.kind === 'admin';
    },
    logger,
  });
  await app.ready();
  return app;
}
