import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

const SOURCES = ['hub', 'peer', 'disk'] as const;
const OUTCOMES = ['kept', 'older', 'refused'] as const;

export type TagMetrics = ReturnType<typeof createTagMetrics>;

/** What is counted of tag statements. `held` is asked at each scrape. */
export function createTagMetrics(metrics: MetricsRegistry, held: () => number) {
  metrics.gauge('tag_statements', 'Names whose newest tag statement is held.', [], (gauge) =>
    gauge.set(held()),
  );
  const received = metrics.counter(
    'tag_statements_received_total',
    'Tag statements by where they came from (hub, peer, disk) and what became of them (kept, ' +
      'older, refused).',
    ['source', 'outcome'],
  );
  for (const source of SOURCES) {
    for (const outcome of OUTCOMES) received.inc({ source, outcome }, 0);
  }
  return { received };
}
