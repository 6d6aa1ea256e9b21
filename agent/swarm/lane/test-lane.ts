// What the tests of lanes share: a server with a blob, and a client that knows no manners.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import {
  connect,
  createServer as createTlsServer,
  type ConnectionOptions,
  type TLSSocket,
} from 'node:tls';
import { abortable, sleep } from '../../../proto/std/abort.ts';
import { encodeFrame } from '../../../proto/swarm/frame-codec.ts';
import { encodeRequest } from '../../../proto/swarm/request.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import { libp2pKeyOf, type NodeIdentity } from '../../fleet/identity.ts';
import type { ContentReader } from '../content-reader.ts';
import { TestFleet, type TestNode } from '../test-fleet.ts';
import { createLaneCertificate } from './certificate.ts';
import { LANE_ALPN } from './constants.ts';

export const MIB = 1024 * 1024;
const TIMEOUT_MS = 20_000;
const POLL_MS = 5;
export const signal = () => ({ signal: AbortSignal.timeout(TIMEOUT_MS) });

/** Connects to the lane of a node, with the certificate of an identity or with none. */
export async function dial(
  server: TestNode,
  identity: NodeIdentity | undefined,
  more: ConnectionOptions = {},
): Promise<TLSSocket> {
  const key = identity && (await libp2pKeyOf(identity));
  const certificate = key && (await createLaneCertificate(key, Date.now()));
  const socket = connect({
    host: '127.0.0.1',
    port: server.swarm.lanePort,
    ...(certificate && { cert: certificate.certPem, key: certificate.keyPem }),
    ALPNProtocols: [LANE_ALPN],
    rejectUnauthorized: false,
    ...more,
  });
  socket.on('error', () => {});
  return socket;
}

export function chunkFrame(request: Parameters<typeof encodeRequest>[0] & { kind: 'getChunk' }) {
  return encodeFrame(encodeRequest(request));
}

/** Reads until the other side closes. */
export async function untilClosed(socket: TLSSocket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => parts.push(bytes));
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('close', () => resolve());
  if (!socket.closed) await abortable(promise, signal().signal);
  return Buffer.concat(parts);
}

/** Two nodes with lanes, one of them with a blob of six chunks. */
export async function fleetWithBlob(
  options: {
    bodyStallMs?: number;
    versionMax?: number;
    wrap?: (content: ContentReader) => ContentReader;
  } = {},
) {
  const fleet = new TestFleet();
  const nodes = await fleet.pair({ lane: true, ...options });
  const blob = fleet.blob(6 * MIB);
  nodes.server.content.add(blob);
  const ask = (index: number) => {
    return { digest: blob.digest, index, length: MIB };
  };
  return { fleet, ...nodes, blob, ask };
}

/** How many lanes a node counts with this outcome. */
export async function lanes(node: TestNode, outcome: string): Promise<number> {
  const text = await node.metrics.text();
  const line = text.split('\n').find((one) => one.includes(`lanes_total{outcome="${outcome}"}`));
  return Number(line?.split(' ').at(-1) ?? 0);
}

export async function untilLanes(node: TestNode, outcome: string, count = 1): Promise<void> {
  const { signal: limit } = signal();
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while ((await lanes(node, outcome)) < count) await sleep(POLL_MS, { signal: limit });
}

/** Lets the client believe that the lane of the server has another port. */
export function moveLane(
  fleet: TestFleet,
  nodes: { server: TestNode; client: TestNode },
  lanePort: number,
): void {
  const moved: Membership = { ...nodes.server.membership, lanePort };
  const own = nodes.client.membership;
  const memberships = [moved, own].map((member) => fleet.certificate(member));
  const version = nodes.client.members.version + 1;
  nodes.client.members.replace({ version, memberships, revokedSerials: [] });
}

/** The port of a listening server. */
export function portOf(server: { address: () => unknown }): number {
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null && 'port' in address);
  return Number(address.port);
}

/** A lane listener with the identity of a node that does with a request what the test wants. */
export async function impersonate(node: TestNode, onData: (raw: Socket) => void) {
  const key = await libp2pKeyOf(node.identity);
  const { certPem, keyPem } = await createLaneCertificate(key, Date.now());
  const tls = createTlsServer({ cert: certPem, key: keyPem, ALPNProtocols: [LANE_ALPN] });
  const counts = { connections: 0 };
  const server = createServer((raw) => {
    counts.connections++;
    raw.on('error', () => {});
    tls.once('secureConnection', (socket) => {
      socket.on('error', () => {});
      socket.on('data', () => onData(raw));
    });
    tls.emit('connection', raw);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = (): void => void server.close();
  return { port: portOf(server), counts, [Symbol.dispose]: end };
}
