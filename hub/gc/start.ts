import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { BlobLister, BlobRemover } from '../blobs/port.ts';
import { claimBlobFolder } from '../catalog/blob-folder.ts';
import { KyselyGcStore } from '../catalog/gc-store.ts';
import type { OpenCatalog } from '../catalog/open-catalog.ts';
import { Collector } from './collector.ts';
import { GarbageList } from './garbage.ts';
import { createGcMetrics } from './metrics.ts';
import { untaggedMsOf, type GcConfig } from './options.ts';
import { OrphanSearch } from './orphans.ts';
import { Purges } from './purges.ts';
import { GcRuns } from './runs.ts';

type Modules = {
  catalog: Pick<OpenCatalog, 'db' | 'manifestsChanged'>;
  blobs: BlobRemover & BlobLister;
  metrics: MetricsRegistry;
  logger: Logger;
};

export type Gc = {
  collector: Collector;
  runs: GcRuns;
  list: GarbageList;
  purges: Purges;
  /** Whether this hub can read the blobs of the catalog. */
  hasBlobs: boolean;
};

/** Begins to collect by the schedule, and to follow what other hubs take down. */
export async function startGc(
  config: { gc: GcConfig; catalog: { url?: string }; holder: string },
  starting: AsyncDisposableStack,
  { catalog, blobs, metrics, logger }: Modules,
): Promise<Gc> {
  const { gc } = config;
  const store = new KyselyGcStore(catalog);
  const times = {
    graceMs: gc.grace,
    quarantineMs: gc.quarantine,
    untaggedMs: untaggedMsOf(gc),
  };
  const list = new GarbageList(times, { store });
  const gcMetrics = createGcMetrics(metrics);
  const collector = new Collector(times, { store, blobs, metrics: gcMetrics, logger });
  const elsewhere = (await mayCollect(config, catalog, blobs)) ? undefined : ELSEWHERE;
  if (elsewhere !== undefined) logger.warn({}, elsewhere);
  const runs = starting.use(new GcRuns({ elsewhere }, { collector, store, logger }));
  const purges = new Purges({ store, blobs, logger });
  await purges.refresh();
  if (elsewhere === undefined) {
    const orphans = new OrphanSearch({ store, blobs, metrics: gcMetrics, logger });
    starting.use(orphans.start());
  }
  starting.use(purges.follow());
  runs.schedule({ intervalMs: gc.interval });
  return { collector, runs, list, purges, hasBlobs: elsewhere === undefined };
}

/**
 * Bytes in a bucket have names that tell them from those stored later. Bytes in a folder have not,
 * so that only the process that has the folder removes them: of hubs on one database, the one whose
 * folder the catalog names. It names the first one that came.
 */
async function mayCollect(
  { catalog: { url }, holder }: { catalog: { url?: string }; holder: string },
  { db }: Pick<OpenCatalog, 'db'>,
  blobs: BlobRemover,
): Promise<boolean> {
  if (url === undefined || blobs.nameOf !== undefined) return true;
  return (await claimBlobFolder(db, holder)) === holder;
}

const ELSEWHERE =
  'the blobs of this catalog are in the data folder of another hub, which this one cannot read ' +
  'and does not collect; hubs share blobs only in S3; if that folder is gone for good, stop ' +
  'the hub and run flotilla hub check --repair --adopt';
