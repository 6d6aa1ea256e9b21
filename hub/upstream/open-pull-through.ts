import path from 'node:path';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import type { Rights } from '../access/rights.ts';
import type { BlobStore } from '../blobs/port.ts';
import { KyselyAccessStore } from '../catalog/access-store.ts';
import type { AccessTables } from '../catalog/access-tables.ts';
import { NamedLeases, type LeaseTables } from '../catalog/named-lease.ts';
import type { OpenCatalog } from '../catalog/open-catalog.ts';
import { KyselyUpstreamStore, type UpstreamTables } from '../catalog/upstream-store.ts';
import { BufferMemory } from '../registry/buffer-memory.ts';
import {
  BODIES_MEMORY_BYTES,
  BODY_MEMORY_BYTES,
  BODY_MEMORY_MIN_BYTES,
} from '../registry/constants.ts';
import type { UploadStore } from '../registry/upload-store.ts';
import type { Replicas } from '../replicas/replicas.ts';
import { UpstreamBlobs } from './blobs.ts';
import { coldCatalog } from './cold-content.ts';
import { FetchTurns } from './fetch-turns.ts';
import { hubDesk } from './hub-desk.ts';
import { HubStreams } from './hub-streams.ts';
import { UpstreamIngests } from './ingests.ts';
import { UpstreamListings } from './listings.ts';
import { UpstreamManifests, type TaggedManifest } from './manifests.ts';
import { Negatives } from './negatives.ts';
import type { Ingests, Upstreams } from './port.ts';
import { openUpstreamProjects } from './projects.ts';
import { AHEAD_QUESTIONS_MAX } from './pull-constants.ts';
import { createPullMetrics } from './pull-metrics.ts';
import { HubPullThrough } from './pull-through.ts';
import { SharedBlobs } from './shared-blobs.ts';
import { SpoolFolder } from './spool.ts';
import { UpstreamTags } from './tags.ts';

type Options = {
  dataDir: string;
  /** This hub among those that share the catalog. */
  holder: string;
  /** Whether other hubs may have the same catalog. */
  shared: boolean;
  /** ms since 1970. */
  now?: () => number;
  stallMs?: number;
  ownerWaitMs?: number;
};

type Modules = {
  upstreams: Upstreams;
  catalog: OpenCatalog;
  blobs: BlobStore;
  uploads: UploadStore;
  rights: Pick<Rights, 'isPublic' | 'changed'>;
  replicas: Replicas | undefined;
  /** Told of tags that name something else than before. */
  arrived?: (tagged: TaggedManifest) => void;
  metrics: MetricsRegistry;
  logger: Logger;
};

/** Pull-through of this hub, and the blobs that are on their way to it. */
export type OpenPullThrough = {
  pullThrough: HubPullThrough;
  ingests: Ingests;
  /** The hubs that read blobs of each other; undefined for one that is alone. */
  others: { hubs: Replicas; streams: HubStreams } | undefined;
  /** Size in bytes that a manifest of the repository says a blob has. */
  namedSize: (repository: string, digest: Digest) => Promise<number | undefined>;
  told: UpstreamTags['told'];
  close: () => Promise<void>;
};

/** Puts pull-through together. Throws errors of the catalog and BlobStoreError. */
export async function openPullThrough(
  options: Options,
  modules: Modules,
): Promise<OpenPullThrough> {
  const { dataDir, holder, shared, now = Date.now, stallMs } = options;
  const { upstreams, catalog, blobs, uploads, rights, arrived, logger } = modules;
  const { db } = catalog;
  const access = new KyselyAccessStore({ db: db.withTables<AccessTables>() });
  await openUpstreamProjects(upstreams, { store: access, rights, logger });
  const folder = path.join(dataDir, 'upstream', 'spool');
  const spools = new SpoolFolder({ folder, now }, { known: (ids) => uploads.known(ids) });
  await spools.sweep();
  const own = { running: (): number => 0 };
  const metrics = createPullMetrics(modules.metrics, () => own.running());
  const store = new KyselyUpstreamStore({ db: db.withTables<UpstreamTables>() });
  const isPublic = (repository: string) => rights.isPublic(repository);
  const ingests = new UpstreamIngests(
    { holder, now, ...(stallMs === undefined ? {} : { stallMs }) },
    { store, uploads, blobs, spools, catalog, isPublic, metrics, logger },
  );
  own.running = () => ingests.count;
  const leases = new NamedLeases({ holder }, { db: db.withTables<LeaseTables>() });
  const turns = new FetchTurns({ leases: shared ? leases : undefined });
  const negatives = new Negatives({ now });
  const manifests = new UpstreamManifests({ catalog, turns, metrics, arrived });
  const parts = { catalog, store, manifests, negatives, metrics, logger };
  const tags = new UpstreamTags({ now }, parts);
  const listings = new UpstreamListings({ now }, { catalog });
  const known = { ingests, blobs, catalog, store, isPublic, negatives, metrics };
  const here = new UpstreamBlobs({ now }, known);
  const others = otherHubs(here, ingests, modules);
  const wait = { waitMs: options.ownerWaitMs };
  const sharing = shared ? new SharedBlobs(wait, { own: here, others }) : undefined;
  const pullThrough = new HubPullThrough(
    { now },
    { upstreams, manifests, tags, listings, blobs: here, shared: sharing, negatives, metrics },
  );
  const close = async (): Promise<void> => {
    await ingests.close();
    await others?.streams.close();
  };
  const { replicas } = modules;
  const begun = ingestsOf(ingests, { upstreams, store, here, replicas, logger });
  const namedSize: OpenPullThrough['namedSize'] = (...blob) => store.namedSize(...blob);
  return { pullThrough, ingests: begun, others, namedSize, told: tags.told, close };
}

/** Blobs on their way to this hub as other rooms see them, and begin them. */
function ingestsOf(
  ingests: UpstreamIngests,
  modules: Pick<Modules, 'upstreams' | 'replicas' | 'logger'> & {
    store: Pick<KyselyUpstreamStore, 'namedSize'>;
    here: UpstreamBlobs;
  },
): Ingests {
  const { upstreams, store, here, replicas, logger } = modules;
  /** Where this hub is to fetch it; undefined: it is not. */
  const placeOf = async (repository: Repository, digest: Digest) => {
    if (ingests.find(repository, digest) !== undefined) return undefined;
    const place = upstreams.placeOf(repository);
    if (place === undefined || place.repository !== repository) return undefined;
    // Another hub fetches it, and is asked.
    if ((replicas?.ownership.partIn(digest).kind ?? 'owner') !== 'owner') return undefined;
    return (await store.namedSize(repository, digest)) === undefined ? undefined : place;
  };
  const turns = new Semaphore({ permits: AHEAD_QUESTIONS_MAX, queueMax: 0 });
  const ahead = async (repository: Repository, digest: Digest): Promise<void> => {
    using turn = turns.tryAcquire();
    if (turn === undefined) return;
    try {
      const place = await placeOf(repository, digest);
      if (place !== undefined) await here.ahead(place, digest);
    } catch (err) {
      const fields = { repository, digest, reason: messageOf(err) };
      logger.debug(fields, 'a blob is not fetched ahead');
    }
  };
  return {
    find: (repository, digest) => ingests.find(repository, digest),
    start: async (repository, digest, { signal }) => {
      const place = await placeOf(repository, digest);
      if (place === undefined) return;
      await here.begin(place, digest, { signal: signal ?? new AbortController().signal });
    },
    ahead: (repository, digest) => void ahead(repository, digest),
  };
}

/** The catalog as the fleet sees it, blobs of upstreams that are still to come included. */
export function coldCatalogOf(
  catalog: OpenCatalog,
  upstreams: Upstreams,
  coming: { pull?: Pick<OpenPullThrough, 'told'> },
) {
  const told: UpstreamTags['told'] = (...tag) => coming.pull?.told(...tag);
  const store = new KyselyUpstreamStore({ db: catalog.db.withTables<UpstreamTables>() });
  return coldCatalog({ catalog, store, upstreams, now: Date.now, told });
}

function otherHubs(
  own: UpstreamBlobs,
  ingests: Pick<Ingests, 'find'>,
  { replicas: hubs, upstreams, logger }: Pick<Modules, 'replicas' | 'upstreams' | 'logger'>,
): OpenPullThrough['others'] {
  if (hubs === undefined) return undefined;
  const memory = new BufferMemory({
    totalBytes: BODIES_MEMORY_BYTES,
    minBytes: BODY_MEMORY_MIN_BYTES,
    maxBytes: BODY_MEMORY_BYTES,
  });
  const open: UpstreamBlobs['openHere'] = (...ask) => own.openHere(...ask);
  const find: Ingests['find'] = (...ask) => ingests.find(...ask);
  hubs.answerAt(hubDesk({ upstreams, open, find, memory, logger }));
  return { hubs, streams: new HubStreams({ hubs }) };
}
