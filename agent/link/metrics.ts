import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { Budgets } from './budgets.ts';

/** Registers what is known of the link and of the budgets; each scrape reads them. */
export function registerLinkMetrics(
  m: MetricsRegistry,
  link: { bytesPerSecond: number | undefined; budgets: Budgets },
): void {
  const ways = [
    ['peers_up', link.budgets.peersUp],
    ['peers_down', link.budgets.peersDown],
    ['source', link.budgets.source],
    ['prefetch', link.budgets.prefetch],
  ] as const;
  const help = 'Bytes per second of the link of this node as known; 0: not known.';
  m.gauge('link_rate_bytes', help).set(link.bytesPerSecond ?? 0);
  const rates = 'Bytes per second that a budget gives now; 0: it bounds nothing.';
  m.gauge('budget_rate_bytes', rates, ['way'], (gauge) => {
    for (const [way, budget] of ways) gauge.set({ way }, budget?.bytesPerSecond ?? 0);
  });
  const taken = 'Bytes that were taken out of a budget since the start.';
  m.gauge('budget_taken_bytes', taken, ['way'], (gauge) => {
    for (const [way, budget] of ways) gauge.set({ way }, budget?.taken ?? 0);
  });
  const waits = 'Seconds that those who took out of a budget were told to wait since the start.';
  m.gauge('budget_wait_seconds', waits, ['way'], (gauge) => {
    for (const [way, budget] of ways) gauge.set({ way }, (budget?.waitedMs ?? 0) / 1000);
  });
}
