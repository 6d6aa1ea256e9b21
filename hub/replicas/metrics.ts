import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

export type ReplicaMetrics = ReturnType<typeof createReplicaMetrics>;

/** What the metrics read at each scrape. */
export type ReplicaGauges = { alive: () => number; owner: () => boolean; epoch: () => number };

const FORWARD_BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];

/** Metrics of the room hub/replicas. */
export function createReplicaMetrics(m: MetricsRegistry, live: ReplicaGauges) {
  m.gauge('replicas_alive', 'Hubs on this catalog, as this one sees it, with itself.', [], (g) =>
    g.set(live.alive()),
  );
  m.gauge(
    'replicas_owner',
    '1: this hub answers for its share of the blobs; 0: not now.',
    [],
    (g) => g.set(live.owner() ? 1 : 0),
  );
  m.gauge('replicas_epoch', 'Grows whenever a hub comes or goes; the same on all hubs.', [], (g) =>
    g.set(live.epoch()),
  );
  return {
    heartbeats: m.counter('replicas_heartbeats_total', 'Heartbeats of this hub by result.', [
      'result',
    ]),
    evictions: m.counter(
      'replicas_evictions_total',
      'Other hubs that this one took out, because their heartbeats stood still.',
    ),
    forwards: m.counter(
      'replicas_forwards_total',
      'Announcements of agents passed on to another hub, by outcome.',
      ['result'],
    ),
    forwardSeconds: m.histogram(
      'replicas_forward_seconds',
      'Time in which another hub answered an announcement that was passed on.',
      [],
      FORWARD_BUCKETS,
    ),
    received: m.counter(
      'replicas_received_total',
      'Announcements that other hubs passed on to this one, by outcome.',
      ['code'],
    ),
    unowned: m.counter(
      'replicas_unowned_total',
      'Blobs in announcements that no hub could answer for at that moment, by reason.',
      ['reason'],
    ),
  };
}
