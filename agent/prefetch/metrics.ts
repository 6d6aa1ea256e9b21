import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type PrefetchMetrics = ReturnType<typeof createPrefetchMetrics>;

const RESULTS = ['fetched', 'held', 'failed', 'stopped'] as const;

/** Metrics of the prefetch room. */
export function createPrefetchMetrics(m: MetricsRegistry) {
  const images = m.counter(
    'prefetch_images_total',
    'Images the hub wanted here before anybody asked, by result: fetched, held (nothing was ' +
      'missing), failed, stopped.',
    ['result'],
  );
  for (const result of RESULTS) images.inc({ result }, 0);
  const bytes = m.counter(
    'prefetch_bytes_total',
    'Bytes of blobs that were brought here before anybody asked for them.',
  );
  bytes.inc(0);
  const running = m.gauge('prefetch_running', 'Images that are being brought here now.');
  running.set(0);
  return { images, bytes, running };
}
