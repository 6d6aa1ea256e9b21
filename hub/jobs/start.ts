import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { createJobMetrics } from './metrics.ts';
import type { JobStore } from './store.ts';
import { JobWorkers } from './workers.ts';

/** The queue of jobs of a hub; who does jobs registers before `workers.start`. */
export type Jobs = { store: JobStore; workers: JobWorkers };

/** What does the jobs in this store; it ends with `starting`. */
export function openJobs(
  store: JobStore,
  starting: AsyncDisposableStack,
  modules: { metrics: MetricsRegistry; logger: Logger },
): Jobs {
  const metrics = createJobMetrics(modules.metrics, store);
  const workers = starting.use(new JobWorkers({}, { store, metrics, logger: modules.logger }));
  return { store, workers };
}
