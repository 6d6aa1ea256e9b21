// A peer that answers on a lane as a test wants.
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { digestOf } from '../../../proto/oci/digest.ts';
import { FrameReader } from '../../../proto/swarm/frame-codec.ts';
import { LANE_HEAD_BYTES, writeLaneHead, type LaneHead } from '../../../proto/swarm/lane.ts';
import { decodeRequest } from '../../../proto/swarm/request.ts';
import { ChunkBuffers, type LentBuffer } from '../chunk-buffers.ts';
import { createLaneCertificate } from './certificate.ts';
import { LANE_ALPN } from './constants.ts';
import { dialLane } from './lane-dial.ts';
import type { LaneSocket } from './lane-socket.ts';
import { portOf, signal } from './test-lane.ts';

export const CHUNK_BYTES = 64 * 1024;
const DIGEST = digestOf(Buffer.from('a blob'));
/** Far longer than any test. */
const NEVER_MS = 600_000;

export type Answer = (id: number, index: number, socket: TLSSocket, raw: Socket) => void;
export type Rig = {
  lane: LaneSocket;
  buffers: CountedBuffers;
  violations: Error[];
} & AsyncDisposable;

export class CountedBuffers extends ChunkBuffers {
  taken = 0;
  readonly first = Promise.withResolvers<void>();

  override take(length: number): LentBuffer {
    this.taken++;
    this.first.resolve();
    return super.take(length);
  }
}

/** A lane to a peer that answers as the test wants. */
export async function laneTo(
  answer: Answer,
  limits: {
    bodyMs?: number;
    doubtMs?: number;
    answers?: () => Promise<boolean>;
    /** To a question about holdings. */
    tell?: (id: number, socket: TLSSocket) => void;
  } = {},
  buffers: CountedBuffers = new CountedBuffers(),
): Promise<Rig> {
  const key = await generateKeyPair('Ed25519');
  const peerId = peerIdFromPrivateKey(key).toString();
  const certificate = await createLaneCertificate(key, Date.now());
  const { certPem: cert, keyPem } = certificate;
  const raws = new Map<number | undefined, Socket>();
  const tls = createTlsServer({ cert, key: keyPem, ALPNProtocols: [LANE_ALPN] }, (socket) => {
    const reader = new FrameReader({ maxBytes: 1_000 });
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      reader.push(bytes);
      for (let frame = reader.readFrame(); frame; frame = reader.readFrame()) {
        const request = decodeRequest(frame);
        const raw = raws.get(socket.remotePort);
        if (request.kind === 'have') limits.tell?.(request.id, socket);
        if (request.kind === 'getChunk' && raw) answer(request.id, request.index, socket, raw);
      }
    });
  });
  const server = createServer((raw) => {
    raws.set(raw.remotePort, raw);
    tls.emit('connection', raw);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const violations: Error[] = [];
  const member = {
    fleetId: 'f',
    peerId,
    node: 'n',
    zone: '',
    addresses: ['127.0.0.1'],
    libp2pPort: 1,
    lanePort: portOf(server),
    serial: 1,
    notBeforeMs: 0,
    notAfterMs: 0,
  };
  const modules = {
    certificate: () => certificate,
    buffers,
    onViolation: (_peer: string, err: Error) => void violations.push(err),
    now: Date.now,
    stallMs: NEVER_MS,
    doubtMs: limits.doubtMs ?? NEVER_MS,
    answers: limits.answers ?? (async () => true),
    bodyMs: () => limits.bodyMs ?? NEVER_MS,
  };
  const lane = await dialLane(member, modules, signal().signal);
  const end = async (): Promise<void> => {
    lane.close();
    for (const raw of raws.values()) raw.destroy();
    server.close();
  };
  return { lane, buffers, violations, [Symbol.asyncDispose]: end };
}

export function fetch(lane: LaneSocket, index: number, o: { signal: AbortSignal } = signal()) {
  return lane.fetch({ digest: DIGEST, index, length: CHUNK_BYTES }, o.signal);
}

export function have(lane: LaneSocket, o: { signal: AbortSignal } = signal()) {
  return lane.have({ digest: DIGEST, knownCount: 0, waitMs: 0 }, o.signal);
}

export function headOf(id: number, more: Partial<LaneHead> = {}): Buffer {
  const head = Buffer.alloc(LANE_HEAD_BYTES);
  writeLaneHead({ id, status: 'ok', bodyBytes: CHUNK_BYTES, ...more }, head);
  return head;
}

export function bodyOf(index: number): Buffer {
  return Buffer.alloc(CHUNK_BYTES, index + 1);
}
