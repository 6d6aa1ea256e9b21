import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type PrefetchMetrics = ReturnType<typeof createPrefetchMetrics>;

/** Metrics of the room hub/prefetch. */
export function createPrefetchMetrics(m: MetricsRegistry) {
  const orders = m.counter('prefetch_orders_total', 'Orders to have an image on nodes, by end.', [
    'result',
  ]);
  for (const result of ['done', 'failed', 'stopped', 'replaced']) orders.inc({ result }, 0);
  const nodes = m.counter('prefetch_nodes_total', 'Nodes of such orders, by what they told.', [
    'result',
  ]);
  for (const result of ['done', 'failed']) nodes.inc({ result }, 0);
  const open = m.gauge('prefetch_open_orders', 'Such orders that have not ended.');
  open.set(0);
  const missing = m.gauge(
    'prefetch_missing_copies',
    'Copies that are to be kept in the fleet and are not there, over all orders.',
  );
  missing.set(0);
  const policies = m.counter('prefetch_policy_runs_total', 'Orders of policies, by outcome.', [
    'result',
  ]);
  for (const result of ['ordered', 'refused']) policies.inc({ result }, 0);
  return { orders, nodes, open, missing, policies };
}
