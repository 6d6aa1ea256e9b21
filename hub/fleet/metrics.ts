import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type FleetMetrics = ReturnType<typeof createFleetMetrics>;

/** What the metrics read at each scrape. */
export type FleetGauges = {
  members: () => number;
  tracker: () => { members: number; digests: number; leases: number; bytes: number };
};

const TRACKER_BUCKETS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];

/** Metrics of the room hub/fleet. */
export function createFleetMetrics(m: MetricsRegistry, live: FleetGauges) {
  m.gauge('fleet_members', 'Agents with a current membership.', [], (gauge) =>
    gauge.set(live.members()),
  );
  m.gauge('tracker_agents', 'Agents the tracker heard of lately.', [], (gauge) =>
    gauge.set(live.tracker().members),
  );
  m.gauge('tracker_blobs', 'Blobs with at least one agent that holds or fetches them.', [], (g) =>
    g.set(live.tracker().digests),
  );
  m.gauge('tracker_leases', 'Chunks leased to an agent that has not finished them.', [], (gauge) =>
    gauge.set(live.tracker().leases),
  );
  m.gauge('tracker_memory_bytes', 'Bytes of bitmaps and chunk tables in the tracker.', [], (g) =>
    g.set(live.tracker().bytes),
  );
  return {
    trackerSeconds: m.histogram(
      'tracker_announce_seconds',
      'Time from a read announcement to its answer.',
      [],
      TRACKER_BUCKETS,
    ),
    leases: m.counter('tracker_leases_total', 'Chunks leased to agents.'),
    bypasses: m.counter(
      'tracker_bypasses_total',
      'Chunks that agents were allowed to take from their source without a lease.',
    ),
    requests: m.counter('fleet_requests_total', 'Requests to the fleet API by call and outcome.', [
      'call',
      'code',
    ]),
    enrolments: m.counter('fleet_enrolments_total', 'Enrolments by result.', ['result']),
    nodeConflicts: m.counter(
      'fleet_node_conflicts_total',
      'Enrolments of a node name that another key had; the earlier membership was revoked.',
    ),
    certificates: m.counter('fleet_certificates_total', 'Membership certificates signed.'),
    revocations: m.counter('fleet_revocations_total', 'Membership certificates revoked.'),
    grants: m.counter('fleet_grants_total', 'Questions for grants by result.', ['result']),
    tags: m.counter('fleet_tag_statements_total', 'Questions for tag statements by result.', [
      'result',
    ]),
    statements: m.counter('fleet_statements_total', 'Questions for chunk statements by result.', [
      'result',
    ]),
  };
}
