import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { BanReason } from '../fetch/ports.ts';

export type SwarmMetrics = ReturnType<typeof createSwarmMetrics>;

/**
 * Why a connection or a stream of a peer was refused or cut: `connection` at the gate (banned, or
 * too many of them), `no_hello` for anything said before a hello, `hello_timeout`, `flood` for more
 * or larger frames than are taken, `streams` for more streams than are served.
 */
export type Refusal = (typeof REFUSALS)[number];
export type CountRefusals = (reason: Refusal, count?: number) => void;

const REFUSALS = ['connection', 'no_hello', 'hello_timeout', 'flood', 'streams'] as const;
const BAN_REASONS: readonly BanReason[] = [
  'chunk-mismatch',
  'blob-mismatch',
  'hashes-mismatch',
  'statement-invalid',
  'grant-invalid',
  'tag-invalid',
  'protocol-violation',
];

const CHUNK_SECONDS_BUCKETS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60];

type Live = {
  admitted: number;
  unadmitted: number;
  peers: number;
  uploads: number;
  lanesIn: number;
  lanesOut: number;
};

/** What the swarm counts. `live` reports the connections at scrape time. */
export function createSwarmMetrics(metrics: MetricsRegistry, live: () => Live) {
  const banned = metrics.counter('swarm_peers_banned_total', 'Peers banned, by what they did.', [
    'reason',
  ]);
  for (const reason of BAN_REASONS) banned.inc({ reason }, 0);
  const refused = metrics.counter(
    'swarm_refused_total',
    'Connections and streams of peers refused or cut, by reason (connection, no_hello, ' +
      'hello_timeout, flood, streams).',
    ['reason'],
  );
  for (const reason of REFUSALS) refused.inc({ reason }, 0);
  return {
    peersConnected: metrics.gauge(
      'swarm_peers_connected',
      'Peers with at least one connection whose hello passed.',
      [],
      (gauge) => gauge.set(live().peers),
    ),
    connections: metrics.gauge(
      'swarm_connections',
      'libp2p connections by whether their hello has passed.',
      ['state'],
      (gauge) => {
        const { admitted, unadmitted } = live();
        gauge.set({ state: 'admitted' }, admitted);
        gauge.set({ state: 'unadmitted' }, unadmitted);
      },
    ),
    uploadsInFlight: metrics.gauge(
      'swarm_uploads_in_flight',
      'Chunk and blob bodies being sent to peers now.',
      [],
      (gauge) => gauge.set(live().uploads),
    ),
    hellos: metrics.counter('swarm_hellos_total', 'Hellos by who opened the connection.', [
      'direction',
      'outcome',
    ]),
    dials: metrics.counter('swarm_dials_total', 'Connections this node tried to open.', [
      'outcome',
    ]),
    banned,
    refused,
    served: metrics.counter('swarm_served_requests_total', 'Requests of peers, by answer.', [
      'kind',
      'status',
    ]),
    uploaded: metrics.counter(
      'swarm_uploaded_bytes_total',
      'Bytes of chunks and small blobs sent to peers.',
    ),
    asked: metrics.counter('swarm_requests_total', 'Requests sent to peers, by outcome.', [
      'kind',
      'outcome',
    ]),
    ...createLaneMetrics(metrics, live),
    chunkSeconds: metrics.histogram(
      'swarm_chunk_seconds',
      'Time to receive one chunk from a peer, from the request on.',
      [],
      CHUNK_SECONDS_BUCKETS,
    ),
  };
}

function createLaneMetrics(metrics: MetricsRegistry, live: () => Live) {
  return {
    lanes: metrics.counter('swarm_lanes_total', 'Lanes to and from other agents, by outcome.', [
      'outcome',
    ]),
    laneSockets: metrics.gauge(
      'swarm_lane_sockets',
      'Open lane sockets, by who opened them.',
      ['direction'],
      (gauge) => {
        const { lanesIn, lanesOut } = live();
        gauge.set({ direction: 'inbound' }, lanesIn);
        gauge.set({ direction: 'outbound' }, lanesOut);
      },
    ),
  };
}
