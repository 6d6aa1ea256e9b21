import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

/** What the hub counts of connections. */
export type HttpMetrics = ReturnType<typeof createHttpMetrics>;

export function createHttpMetrics(m: MetricsRegistry) {
  return {
    refusedConnections: m.counter(
      'connections_refused_total',
      'Connections closed because their address had its share.',
    ),
    slowBodies: m.counter(
      'slow_bodies_total',
      'Connections cut because the body of a request came too slowly.',
    ),
  };
}
