import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type FleetMetrics = ReturnType<typeof createFleetMetrics>;

const CALL_SECONDS_BUCKETS = [0.002, 0.01, 0.05, 0.2, 1, 5];

/** What the fleet client counts. `live` reports its state at scrape time. */
export function createFleetMetrics(
  metrics: MetricsRegistry,
  live: () => { online: boolean; enrolled: boolean; members: number; expiresAtMs: number },
) {
  return {
    calls: metrics.counter(
      'fleet_hub_requests_total',
      'Calls to the fleet API of the hub, by outcome.',
      ['call', 'outcome'],
    ),
    callSeconds: metrics.histogram(
      'fleet_hub_request_seconds',
      'Time of an answered call to the hub; call="announce" is the tracker.',
      ['call'],
      CALL_SECONDS_BUCKETS,
    ),
    online: metrics.gauge(
      'fleet_hub_online',
      '1 while the last call to the hub was answered.',
      [],
      (gauge) => gauge.set(live().online ? 1 : 0),
    ),
    enrolled: metrics.gauge('fleet_enrolled', '1 when this node holds a membership.', [], (gauge) =>
      gauge.set(live().enrolled ? 1 : 0),
    ),
    members: metrics.gauge('fleet_members', 'Other members this node can prove.', [], (gauge) =>
      gauge.set(live().members),
    ),
    expiry: metrics.gauge(
      'fleet_membership_expiry_timestamp_seconds',
      'When the membership of this node ends; 0 without one.',
      [],
      (gauge) => gauge.set(live().expiresAtMs / 1_000),
    ),
  };
}
