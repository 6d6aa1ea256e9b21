import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

const WAIT_SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60];

/** What the uplink counts. */
export type UplinkMetrics = ReturnType<typeof createUplinkMetrics>;

/** Registers the metrics of the uplink. */
export function createUplinkMetrics(m: MetricsRegistry) {
  return {
    rate: m.gauge('uplink_rate_bytes', 'Bytes per second of the link as known; 0: not known.'),
    flows: m.gauge('uplink_flows_queued', 'Repositories of which blob bytes wait for the uplink.'),
    slices: m.gauge('uplink_slices_queued', 'Slices of blobs that wait for the uplink.'),
    wait: m.histogram(
      'uplink_wait_seconds',
      'Seconds a slice of a blob waited for the uplink; what need not wait is not here.',
      [],
      WAIT_SECONDS,
    ),
    bytes: m.counter('uplink_bytes_total', 'Blob bytes that left, by how they did.', ['way']),
  };
}
