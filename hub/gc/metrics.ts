import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

/** What the collector counts. */
export type GcMetrics = ReturnType<typeof createGcMetrics>;

/** Metrics of the room hub/gc. */
export function createGcMetrics(m: MetricsRegistry) {
  return {
    runs: m.counter('gc_runs_total', 'Collections by their end.', ['result']),
    lastSeconds: m.gauge('gc_last_seconds', 'How long the last collection took.'),
    lastEnd: m.gauge('gc_last_timestamp_seconds', 'When a collection last ended well.'),
    manifests: m.counter(
      'gc_manifests_total',
      'Manifests that may have been of no use, by what became of them.',
      ['fate'],
    ),
    links: m.counter('gc_links_total', 'Unused blobs of repositories, by what became of them.', [
      'fate',
    ]),
    quarantined: m.counter('gc_quarantined_total', 'Blobs that went into quarantine.'),
    quarantinedBytes: m.counter('gc_quarantined_bytes_total', 'Bytes that went into quarantine.'),
    deleted: m.counter('gc_deleted_total', 'Blobs whose bytes were removed.'),
    deletedBytes: m.counter('gc_deleted_bytes_total', 'Bytes of blobs that were removed.'),
    orphans: m.counter('gc_orphans_total', 'Stored blobs found that the catalog did not know.'),
    restored: m.counter('gc_restored_total', 'Blobs taken out of quarantine by hand.'),
    failures: m.counter('gc_failures_total', 'Blobs whose bytes could not be removed.'),
  };
}
