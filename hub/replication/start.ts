import type { BuildInfo } from '../../proto/ops/build-info.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Access } from '../access/access.ts';
import type { Rights } from '../access/rights.ts';
import type { BlobStore } from '../blobs/port.ts';
import type { OpenCatalog } from '../catalog/open-catalog.ts';
import { KyselyReplicationStore, type ReplicationTables } from '../catalog/replication-store.ts';
import type { Jobs } from '../jobs/start.ts';
import { UPLOADS_MAX } from '../registry/constants.ts';
import { OpenUploads } from '../registry/open-uploads.ts';
import type { UploadStore } from '../registry/upload-store.ts';
import { EXECUTIONS_AT_ONCE, TRANSFER_KEPT_MS, TRANSFER_SWEEP_MS } from './constants.ts';
import { createReplicationMetrics } from './metrics.ts';
import type { ReplicationConfig } from './options.ts';
import { Replication, type Push } from './replication.ts';
import { REPLICATION, Rules } from './rules.ts';
import { checkSecrets } from './secrets.ts';
import type { ReplicationStore } from './store.ts';

type Modules = {
  jobs: Jobs;
  catalog: OpenCatalog;
  blobs: BlobStore;
  uploads: UploadStore;
  rights: Pick<Rights, 'isPublic'>;
  access: Pick<Access, 'adoptProject'>;
  /** Told of what was copied to this hub. */
  arrived: (push: Push) => void;
  metrics: MetricsRegistry;
  build: BuildInfo;
  logger: Logger;
};

/** Replication as the hub offers it. */
export type ReplicationDesk = { replication: Replication; rules: Rules; store: ReplicationStore };

/** Makes the workers do executions of rules. @throws ConfigError for files that cannot be read */
export async function openReplication(
  config: ReplicationConfig & { holder: string },
  starting: AsyncDisposableStack,
  modules: Modules,
): Promise<ReplicationDesk> {
  const { jobs, catalog, blobs, rights, access, build, logger } = modules;
  const { registries, holder } = config;
  await checkSecrets(registries);
  const db = catalog.db.withTables<ReplicationTables>();
  const store = new KyselyReplicationStore({ db });
  const options = { uploadsMax: UPLOADS_MAX, holder };
  const uploads = new OpenUploads(options, { blobs, store: modules.uploads, logger });
  const names = registries.map(({ name }) => name);
  const rules = new Rules({ registries: names }, { store, schedules: jobs.store });
  const replication = new Replication(
    { registries },
    {
      store,
      rules,
      catalog,
      blobs,
      uploads,
      isPublic: (repository) => rights.isPublic(repository),
      adoptProject: (repository) =>
        access.adoptProject({ subject: { kind: 'admin' }, epoch: '' }, repository),
      workers: jobs.workers,
      arrived: modules.arrived,
      metrics: createReplicationMetrics(modules.metrics),
      logger,
      userAgent: `flotilla/${build.version}`,
      env: process.env,
    },
  );
  const atOnce = { atOnce: EXECUTIONS_AT_ONCE };
  jobs.workers.handle(REPLICATION, (task) => replication.run(task), atOnce);
  const sweep = async (): Promise<void> => {
    await uploads.sweep();
    await store.sweepTransfers(TRANSFER_KEPT_MS);
  };
  const timer = setInterval(() => {
    sweep().catch((err: unknown) => {
      logger.warn({ reason: messageOf(err) }, 'half-copied blobs could not be put in order');
    });
  }, TRANSFER_SWEEP_MS);
  timer.unref();
  starting.defer(() => clearInterval(timer));
  return { replication, rules, store };
}
