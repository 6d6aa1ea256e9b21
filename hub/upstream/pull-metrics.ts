import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

/** What pull-through counts. */
export type PullMetrics = ReturnType<typeof createPullMetrics>;

const UPSTREAM = ['upstream'] as const;

/** Metrics of content that comes from upstreams. */
export function createPullMetrics(m: MetricsRegistry, running: () => number = () => 0) {
  return {
    tags: m.counter(
      'upstream_tags_total',
      'Tags asked for, by how they were answered: within their time, compared, moved, stale.',
      ['upstream', 'answer'],
    ),
    avoided: m.counter(
      'upstream_pulls_avoided_total',
      'Manifests answered without one that the upstream counts.',
      UPSTREAM,
    ),
    fetched: m.counter('upstream_manifests_total', 'Manifests fetched of upstreams.', UPSTREAM),
    ingests: m.counter('upstream_ingests_total', 'Blobs asked of upstreams, by their end.', [
      'upstream',
      'result',
    ]),
    ingestBytes: m.counter(
      'upstream_ingest_bytes_total',
      'Bytes of blobs that upstreams sent.',
      UPSTREAM,
    ),
    retries: m.counter(
      'upstream_ingest_retries_total',
      'Times that a blob was asked for from where it broke off.',
      UPSTREAM,
    ),
    passedOn: m.counter(
      'upstream_passed_on_total',
      'Blobs passed on without being stored, for want of room.',
      UPSTREAM,
    ),
    linked: m.counter(
      'upstream_linked_total',
      'Blobs that were here already and public, and so not fetched.',
      UPSTREAM,
    ),
    running: m.gauge('upstream_ingests_running', 'Blobs on their way from upstreams.', [], (g) =>
      g.set(running()),
    ),
  };
}
