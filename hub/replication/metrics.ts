import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type ReplicationMetrics = ReturnType<typeof createReplicationMetrics>;

/** Metrics of the room hub/replication. */
export function createReplicationMetrics(m: MetricsRegistry) {
  return {
    artifacts: m.counter('replication_artifacts_total', 'Artifacts by what became of them.', [
      'direction',
      'state',
    ]),
    blobs: m.counter('replication_blobs_total', 'Blobs of artifacts by what became of them.', [
      'direction',
      'fate',
    ]),
    bytes: m.counter('replication_bytes_total', 'Bytes of blobs that were copied.', ['direction']),
    missed: m.counter(
      'replication_missed_pushes_total',
      'Pushes that a rule was to follow and for which there was no room among the jobs.',
    ),
    lastDone: m.gauge(
      'replication_last_done_timestamp_seconds',
      'When an execution of a rule last ended well at this hub.',
      ['direction'],
    ),
  };
}
