import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KyselyJobStore, type JobTables } from '../catalog/job-store.ts';
import type { OpenCatalog } from '../catalog/open-catalog.ts';
import { createJobMetrics } from './metrics.ts';
import type { JobStore } from './store.ts';
import { JobWorkers } from './workers.ts';

/** The queue of jobs of a hub; who does jobs registers before `workers.start`. */
export type Jobs = { store: JobStore; workers: JobWorkers };

/** The queue in this catalog, shared with other hubs on it; its workers end with `starting`. */
export function openJobs(
  options: { holder: string },
  starting: AsyncDisposableStack,
  modules: { catalog: Pick<OpenCatalog, 'db'>; metrics: MetricsRegistry; logger: Logger },
): Jobs {
  const { catalog, logger } = modules;
  const store = new KyselyJobStore(options, { db: catalog.db.withTables<JobTables>() });
  const metrics = createJobMetrics(modules.metrics, store);
  const workers = starting.use(new JobWorkers({}, { store, metrics, logger }));
  return { store, workers };
}
