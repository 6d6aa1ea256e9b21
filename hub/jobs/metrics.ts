import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { JobStore } from './store.ts';

export type JobMetrics = ReturnType<typeof createJobMetrics>;

/** Metrics of the room hub/jobs. What waits is counted for all hubs that share the catalog. */
export function createJobMetrics(m: MetricsRegistry, store: Pick<JobStore, 'counts'>) {
  m.gauge(
    'jobs_open',
    'Jobs that have not ended, at all hubs of the catalog.',
    ['kind', 'state'],
    async (gauge) => {
      gauge.reset();
      for (const { kind, state, count } of await store.counts()) gauge.set({ kind, state }, count);
    },
  );
  return {
    running: m.gauge('jobs_running', 'Jobs that run at this hub.'),
    ended: m.counter('jobs_ended_total', 'Attempts at jobs that ended at this hub.', [
      'kind',
      'result',
    ]),
    seconds: m.counter('jobs_seconds_total', 'Time that jobs took at this hub.', ['kind']),
  };
}
