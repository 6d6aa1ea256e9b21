import type { MetricsRegistry } from '../../../proto/ops/metrics.ts';

export type ProvisionalMetrics = ReturnType<typeof createProvisionalMetrics>;

/** Metrics of what is told of blobs that are still being fetched. */
export function createProvisionalMetrics(m: MetricsRegistry) {
  const batches = m.counter(
    'upstream_provisional_batches_total',
    'Answers about leaves of blobs that are being fetched, by what they say of the blob: ' +
      'running, stored, revoked, none (the fetching failed).',
    ['state'],
  );
  for (const state of ['running', 'stored', 'revoked', 'none']) batches.inc({ state }, 0);
  const sessions = m.counter(
    'upstream_provisional_sessions_total',
    'Blobs of upstreams that agents began to share before they were fetched whole.',
  );
  sessions.inc(0);
  const revoked = m.counter(
    'upstream_provisional_revoked_total',
    'Of those, such whose bytes turned out to have another digest.',
  );
  revoked.inc(0);
  const forwards = m.counter(
    'upstream_provisional_forwards_total',
    'Questions about blobs on their way to another hub that were passed on to it, by how that ' +
      'went: told, none (it does not fetch the blob), failed.',
    ['result'],
  );
  for (const result of ['told', 'none', 'failed']) forwards.inc({ result }, 0);
  return { batches, sessions, revoked, forwards };
}
