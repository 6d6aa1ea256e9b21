import path from 'node:path';
import type { Logger } from '../proto/ops/logger.ts';
import type { MetricsRegistry } from '../proto/ops/metrics.ts';
import { canonicalHost, parseRepository } from '../proto/oci/name.ts';
import { hasCode } from '../proto/std/errors.ts';
import { Administration } from './access/administration.ts';
import { openAccess, type Access } from './access/access.ts';
import { createAccessMetrics } from './access/metrics.ts';
import { LOGIN_PURGE_MS, LOGIN_ROWS_MAX } from './access/constants.ts';
import type { LoginStore } from './access/login-store.ts';
import { Rights } from './access/rights.ts';
import { KyselyAccessStore } from './catalog/access-store.ts';
import type { AccessTables } from './catalog/access-tables.ts';
import { Chores } from './catalog/chores.ts';
import { KyselyFleetStore, type FleetTables } from './catalog/fleet-store.ts';
import { KyselyLoginStore, type LoginTables } from './catalog/login-store.ts';
import type { OpenCatalog } from './catalog/open-catalog.ts';
import { KyselyPrefetchStore, type PrefetchTables } from './catalog/prefetch-store.ts';
import { createFleet, type Fleet } from './fleet/fleet.ts';
import type { PurgedList } from './gc/purges.ts';
import type { Gc } from './gc/start.ts';
import type { HubConfig } from './options.ts';
import { catalogImages } from './prefetch/images.ts';
import type { Images } from './prefetch/ports.ts';
import { startPrefetch, type Prefetch } from './prefetch/start.ts';
import type { Replicas } from './replicas/replicas.ts';
import { coldCatalogOf, type OpenPullThrough } from './upstream/open-pull-through.ts';
import type { Upstreams } from './upstream/port.ts';
import type { SharedProvisional } from './upstream/provisional/shared-provisional.ts';

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

/** What is told of blobs on their way, which the fleet has to know before it can be told. */
export type Coming = { provisional?: SharedProvisional; pull?: OpenPullThrough };

export type Room = {
  fleet: Fleet;
  access: Access;
  rights: Rights;
  administration: Administration;
  prefetch: Prefetch;
};

/** The fleet and the rights in it: each needs something of the other. */
export async function openRoom(
  config: HubConfig,
  modules: {
    shared: boolean;
    catalog: OpenCatalog;
    gc: Gc;
    chores: Chores;
    replicas: Replicas | undefined;
    upstreams: Upstreams | undefined;
    coming: Coming;
    metrics: MetricsRegistry;
    logger: Logger;
  },
): Promise<Room> {
  const { shared, catalog, gc, chores, replicas, upstreams, coming, metrics, logger } = modules;
  const { dataDir, names: hubNames } = config.hub;
  const told = config.upstreams.map(({ name, alias }) => {
    return { name: canonicalHost(name), ...(alias === undefined ? {} : { alias }) };
  });
  const keysDir = path.join(dataDir, 'keys');
  const { trustedProxies } = config.http;
  const store = new KyselyAccessStore({ db: catalog.db.withTables<AccessTables>() });
  const rights = new Rights({ now: Date.now }, { store });
  const own: { access?: Access; prefetch?: Prefetch } = {};
  const fleet = await createFleet(
    { config: config.fleet, keysDir, hubNames, upstreams: told, trustedProxies, shared },
    {
      store: new KyselyFleetStore({ db: catalog.db.withTables<FleetTables>() }),
      catalog: upstreams === undefined ? catalog : coldCatalogOf(catalog, upstreams, coming),
      coming: (...blob) => coming.provisional?.coming(...blob),
      isPublic: (repository) => rights.isPublic(repository),
      privateRights: {
        lend: async (...ask) => own.access?.lend(...ask),
        mayRead: async (...ask) => (await own.access?.mayRead(...ask)) ?? false,
      },
      ...purgeModules(gc),
      chores,
      prefetch: () => own.prefetch?.desk,
      deskOf: replicas && ((part) => replicas.deskOf(part)),
      metrics,
      logger,
    },
  );
  const { tokenKeys } = fleet;
  const loginStore = shared ? sharedLogins(catalog, chores) : undefined;
  const access = await openAccess(config.access, {
    dataDir,
    tokenKeys,
    rights,
    store,
    loginStore,
    metrics: createAccessMetrics(metrics),
    logger,
  });
  own.access = access;
  const prefetch = openPrefetch(config, { ...modules, fleet, access });
  own.prefetch = prefetch;
  const { adminUsername } = config.access;
  const { passwords } = access;
  const administration = new Administration(
    { adminUsername, now: Date.now },
    { store, rights, passwords, logger },
  );
  return { fleet, access, rights, administration, prefetch };
}

/** What nodes are to have before it is asked for. */
function openPrefetch(
  { hub: { names }, fleet: { grantLife: grantLifeMs } }: HubConfig,
  modules: {
    catalog: OpenCatalog;
    upstreams: Upstreams | undefined;
    coming: Coming;
    fleet: Fleet;
    access: Access;
    chores: Chores;
    metrics: MetricsRegistry;
    logger: Logger;
  },
): Prefetch {
  const { catalog, access } = modules;
  const store = new KyselyPrefetchStore({ db: catalog.db.withTables<PrefetchTables>() });
  const rights = {
    isPublic: (repository: string) => access.rights.isPublic(repository),
    mayStillRead: (...ask: Parameters<Access['mayStillRead']>) => access.mayStillRead(...ask),
    lendFor: (...ask: Parameters<Access['lendFor']>) => access.lendFor(...ask),
  };
  const images = pulledImages({ names }, modules);
  return startPrefetch({ grantLifeMs }, { ...modules, store, images, rights });
}

/** Failed logins, counted by all hubs together. */
function sharedLogins({ db }: Pick<OpenCatalog, 'db'>, chores: Chores): LoginStore {
  const store = new KyselyLoginStore({ db: db.withTables<LoginTables>() });
  const run = () => store.purge(LOGIN_ROWS_MAX);
  chores.add({ name: 'logins', everyMs: LOGIN_PURGE_MS, run });
  return store;
}

/** Images of the hub, and of its upstreams as a pull would find them. */
function pulledImages(
  options: { names: readonly string[] },
  modules: { catalog: OpenCatalog; upstreams: Upstreams | undefined; coming: Coming },
): Images {
  const { upstreams, coming } = modules;
  const own = catalogImages(options, modules);
  if (upstreams === undefined) return own;
  return {
    ...own,
    repositoryOf: (name) => {
      const slash = name.indexOf('/');
      const host = slash < 0 ? undefined : upstreams.nameOf(name.slice(0, slash));
      if (host === undefined) return own.repositoryOf(name);
      const repository = parseRepository(host + name.slice(slash));
      return upstreams.placeOf(repository)?.repository ?? repository;
    },
    resolve: async (repository, reference, { signal }) => {
      const place = upstreams.placeOf(repository);
      const { pull } = coming;
      if (place === undefined || pull === undefined) {
        return own.resolve(repository, reference, { signal });
      }
      try {
        // The whole manifest: what it names is granted only while the hub has it.
        const how = { signal, headOnly: false };
        return (await pull.pullThrough.manifest(place, reference, how)).digest;
      } catch (err) {
        if (hasCode(err, 'MANIFEST_UNKNOWN')) return undefined;
        throw err;
      }
    },
  };
}
