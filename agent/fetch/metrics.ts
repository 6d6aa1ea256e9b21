import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type ByteSource = 'local' | 'peer' | 'hub' | 'upstream';
export type ChunkRejection =
  | 'peer_mismatch'
  | 'hub_mismatch'
  | 'blob_mismatch'
  | 'hashes_mismatch'
  | 'statement_invalid';
export type FetchMetrics = ReturnType<typeof createFetchMetrics>;

const SOURCES: readonly ByteSource[] = ['local', 'peer', 'hub', 'upstream'];
const REJECTIONS: readonly ChunkRejection[] = [
  'peer_mismatch',
  'hub_mismatch',
  'blob_mismatch',
  'hashes_mismatch',
  'statement_invalid',
];
const OUTCOMES = ['complete', 'failed', 'stalled', 'stopped'] as const;
const SECONDS = [0.05, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600];
const SIZE_BUCKETS: readonly [number, string][] = [
  [4 * 1024 ** 2, '4MiB'],
  [64 * 1024 ** 2, '64MiB'],
  [1024 ** 3, '1GiB'],
  [16 * 1024 ** 3, '16GiB'],
];

/** The label of a size: the smallest bound it fits under. */
export function sizeBucket(size: number): string {
  return SIZE_BUCKETS.find(([bound]) => size <= bound)?.[1] ?? 'larger';
}

/** Bytes that came, by where they came from. */
function createByteMetrics(metrics: MetricsRegistry) {
  const bytes = metrics.counter(
    'fetched_bytes_total',
    'Content bytes by source: local (served from the store without asking anybody), peer, hub, ' +
      'upstream. Bytes that were received and thrown away count too.',
    ['source'],
  );
  for (const source of SOURCES) bytes.inc({ source }, 0);
  const crossed = metrics.counter(
    'fetched_across_zones_bytes_total',
    'Bytes of chunks that came from peers of other zones.',
  );
  crossed.inc(0);
  return { bytes, crossed };
}

/** Metrics of the fetch room. */
export function createFetchMetrics(metrics: MetricsRegistry) {
  const verified = metrics.counter(
    'chunks_verified_total',
    'Chunks whose hash matched the signed root, by source.',
    ['source'],
  );
  for (const source of ['peer', 'hub', 'upstream']) verified.inc({ source }, 0);
  const rejected = metrics.counter(
    'chunks_rejected_total',
    'Content thrown away, by reason: peer_mismatch and hub_mismatch for a chunk, blob_mismatch ' +
      'for a whole blob, hashes_mismatch and statement_invalid for what proves the chunks.',
    ['reason'],
  );
  for (const reason of REJECTIONS) rejected.inc({ reason }, 0);
  const downloads = metrics.counter(
    'downloads_total',
    'Downloads of chunked blobs that ended, by outcome (complete, failed, stalled, stopped).',
    ['outcome'],
  );
  for (const outcome of OUTCOMES) downloads.inc({ outcome }, 0);
  const inFlight = metrics.gauge('downloads_in_flight', 'Blobs being fetched now.');
  inFlight.set(0);
  const chunksInFlight = metrics.gauge('chunks_in_flight', 'Chunk requests in flight now.');
  chunksInFlight.set(0);
  const stallSeconds = metrics.counter(
    'reader_stall_seconds_total',
    'Time readers waited for bytes that were not here yet.',
  );
  stallSeconds.inc(0);
  const revokedReads = metrics.counter(
    'provisional_revoked_reads_total',
    'Requests of runtimes that were given bytes of a blob that the hub was still fetching, and ' +
      'whose digest turned out to be wrong. The log names each with the remedy.',
  );
  revokedReads.inc(0);
  const readers = metrics.gauge('readers', 'Readers of blobs now.');
  readers.set(0);
  const unreadBytes = metrics.counter(
    'unread_bytes_total',
    'Bytes of chunks asked for by downloads that nobody reads: their readers have left, or they ' +
      'were begun before anybody came.',
  );
  unreadBytes.inc(0);
  return {
    ...createByteMetrics(metrics),
    unreadBytes,
    verified,
    rejected,
    downloads,
    inFlight,
    chunksInFlight,
    stallSeconds,
    revokedReads,
    readers,
    downloadSeconds: metrics.histogram(
      'download_seconds',
      'Time to fetch a whole blob, by size bucket.',
      ['size_bucket'],
      SECONDS,
    ),
  };
}
