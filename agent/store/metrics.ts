import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { StoreStats } from './port.ts';

export type StoreMetrics = ReturnType<typeof createStoreMetrics>;

/** Of a store that is not open. */
export const EMPTY_STATS: StoreStats = {
  bytes: 0,
  reservedBytes: 0,
  pinnedBytes: 0,
  blobs: 0,
  quotaBytes: 0,
  oldestCheckMs: 0,
};

function nothing(): StoreStats {
  return { ...EMPTY_STATS };
}

/** Metrics of the content store; the gauges are read from it at each scrape. */
export function createStoreMetrics(metrics: MetricsRegistry) {
  let read: () => StoreStats = nothing;
  metrics.gauge('store_bytes', 'Verified bytes in the content store.', [], (gauge) => {
    gauge.set(read().bytes);
  });
  metrics.gauge(
    'store_reserved_bytes',
    'Bytes promised to blobs in the content store, here already or still to come.',
    [],
    (gauge) => gauge.set(read().reservedBytes),
  );
  metrics.gauge('store_quota_bytes', 'Most bytes the content store may promise.', [], (gauge) => {
    gauge.set(read().quotaBytes);
  });
  metrics.gauge(
    'store_pinned_bytes',
    'Bytes promised to pinned blobs, which are never evicted.',
    [],
    (gauge) => gauge.set(read().pinnedBytes),
  );
  metrics.gauge(
    'store_blobs',
    'Blobs in the content store, partial ones included.',
    [],
    (gauge) => {
      gauge.set(read().blobs);
    },
  );
  const evictions = metrics.counter(
    'store_evictions_total',
    'Blobs removed from the content store, by reason (quota, disk, entries, invalid).',
    ['reason'],
  );
  for (const reason of ['quota', 'disk', 'entries', 'invalid']) evictions.inc({ reason }, 0);
  const rechecked = metrics.counter(
    'store_rechecked_chunks_total',
    'Chunks of an earlier boot that were read back, by result (good, lost).',
    ['result'],
  );
  for (const result of ['good', 'lost']) rechecked.inc({ result }, 0);
  const refused = metrics.counter(
    'store_refused_total',
    'Blobs that were not stored, by reason (store_full, disk_full).',
    ['reason'],
  );
  for (const reason of ['store_full', 'disk_full']) refused.inc({ reason }, 0);
  const rebuilds = metrics.counter(
    'store_index_rebuilds_total',
    'Times the index of the store was made anew from its folders.',
  );
  metrics.gauge(
    'store_scrub_oldest_check_seconds',
    'Time since the stored content that waits longest was hashed.',
    [],
    (gauge) => gauge.set(read().oldestCheckMs / 1000),
  );
  return {
    ...scrubCounters(metrics),
    ...nodeCounters(metrics),
    rebuilds,
    evictions,
    rechecked,
    refused,
    /** Tells where the gauges read from. */
    observe(stats: () => StoreStats): void {
      read = stats;
    },
  };
}

function scrubCounters(metrics: MetricsRegistry) {
  const scrubbed = metrics.counter(
    'store_scrubbed_bytes_total',
    'Stored bytes that the background scrub has hashed again.',
  );
  const scrubDamaged = metrics.counter(
    'store_scrub_damaged_chunks_total',
    'Chunks and small blobs that the background scrub found rotten and dropped.',
  );
  const scrubPauses = metrics.counter(
    'store_scrub_pauses_total',
    'Times the background scrub stood back because the node was busy.',
  );
  return { scrubbed, scrubDamaged, scrubPauses };
}

function nodeCounters(metrics: MetricsRegistry) {
  const nodeShared = metrics.counter(
    'store_node_blobs_total',
    'Blobs that were found in the content folder of containerd and are shared from there.',
  );
  const nodeLost = metrics.counter(
    'store_node_lost_total',
    'Blobs in the content folder of containerd that are had no more (vanished, damaged).',
    ['reason'],
  );
  for (const reason of ['vanished', 'damaged']) nodeLost.inc({ reason }, 0);
  return { nodeShared, nodeLost };
}
