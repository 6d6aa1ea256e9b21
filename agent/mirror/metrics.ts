import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

const HEADER_BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5];

export type MirrorMetrics = ReturnType<typeof createMirrorMetrics>;

/** Metrics of the mirror. `code` is the HTTP status, `cut` or `client_gone`. */
export function createMirrorMetrics(metrics: MetricsRegistry) {
  const inFlight = metrics.gauge(
    'mirror_requests_in_flight',
    'Requests of runtimes being answered now.',
  );
  inFlight.set(0);
  const sentBytes = metrics.counter(
    'mirror_sent_bytes_total',
    'Body bytes handed to runtimes, by kind of content.',
    ['kind'],
  );
  for (const kind of ['manifest', 'blob']) sentBytes.inc({ kind }, 0);
  const sendfileBytes = metrics.counter(
    'mirror_sendfile_bytes_total',
    'Of the body bytes those that the system sent out of files, not through memory.',
  );
  sendfileBytes.inc(0);
  const stalls = metrics.counter(
    'mirror_stalls_total',
    'Bodies cut because nothing moved, by side (source, client).',
    ['side'],
  );
  for (const side of ['source', 'client']) stalls.inc({ side }, 0);
  const staleTags = metrics.counter(
    'mirror_stale_tags_total',
    'Tags answered by the last statement of a hub that did not answer, by who held it (own, peer).',
    ['source'],
  );
  for (const source of ['own', 'peer']) staleTags.inc({ source }, 0);
  return {
    inFlight,
    staleTags,
    requests: metrics.counter(
      'mirror_requests_total',
      'Requests of runtimes by kind (base, manifest, blob, other) and code: HTTP status, cut or ' +
        'client_gone.',
      ['kind', 'code'],
    ),
    headersSeconds: metrics.histogram(
      'mirror_headers_seconds',
      'Time from a request to its response headers.',
      ['kind'],
      HEADER_BUCKETS,
    ),
    sentBytes,
    sendfileBytes,
    stalls,
    lastRequest: metrics.gauge(
      'mirror_last_request_timestamp_seconds',
      'Unix time of the latest request of a runtime.',
    ),
    lastHit: metrics.gauge(
      'mirror_last_hit_timestamp_seconds',
      'Unix time of the latest request answered with content (200, 206, 304).',
    ),
  };
}
