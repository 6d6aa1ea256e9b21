import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { LOOKED_AFTER_MS } from './constants.ts';

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
  let told = { atMs: -Infinity, open: 0, missing: 0 };
  /** Only of the hub that looks after the orders now: what another knew of them is no more so. */
  const gauge = (name: string, help: string, of: 'open' | 'missing'): void => {
    m.gauge(name, `${help} Told by the hub that looks after them.`, [], (own) => {
      if (performance.now() - told.atMs > LOOKED_AFTER_MS) own.remove();
      else own.set(told[of]);
    });
  };
  gauge('prefetch_open_orders', 'Such orders that have not ended.', 'open');
  const copies = 'Copies that are to be kept in the fleet and are not there, over all orders.';
  gauge('prefetch_missing_copies', copies, 'missing');
  const looked = (counts: { open: number; missing: number }): void => {
    told = { atMs: performance.now(), ...counts };
  };
  const policies = m.counter('prefetch_policy_runs_total', 'Orders of policies, by outcome.', [
    'result',
  ]);
  for (const result of ['ordered', 'refused']) policies.inc({ result }, 0);
  return { orders, nodes, looked, policies };
}
