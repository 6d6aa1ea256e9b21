import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

const SECONDS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600];

/** What the registry API counts. */
export type RegistryMetrics = ReturnType<typeof createRegistryMetrics>;

export function createRegistryMetrics(m: MetricsRegistry, uploadsOpen: () => number) {
  return {
    requests: m.counter('requests_total', 'Registry requests by kind and status code.', [
      'kind',
      'code',
    ]),
    seconds: m.histogram('request_seconds', 'Seconds to answer a request.', ['kind'], SECONDS),
    inFlight: m.gauge('requests_in_flight', 'Registry requests being answered.'),
    sentBytes: m.counter('blob_sent_bytes_total', 'Blob bytes sent to clients and agents.'),
    receivedBytes: m.counter('blob_received_bytes_total', 'Blob bytes received in uploads.'),
    lastPull: m.gauge('last_pull_timestamp_seconds', 'When a blob was last asked for.'),
    lastPush: m.gauge('last_push_timestamp_seconds', 'When a manifest was last pushed.'),
    uploads: m.gauge('uploads_open', 'Uploads that are open.', [], (gauge) =>
      gauge.set(uploadsOpen()),
    ),
  };
}
