import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { abortable } from '../../../proto/std/abort.ts';
import { digestOf } from '../../../proto/oci/digest.ts';
import { FrameReader } from '../../../proto/swarm/frame-codec.ts';
import { LANE_HEAD_BYTES, writeLaneHead, type LaneHead } from '../../../proto/swarm/lane.ts';
import { decodeRequest } from '../../../proto/swarm/request.ts';
import { ChunkBuffers, type LentBuffer } from '../chunk-buffers.ts';
import { code } from '../test-fleet.ts';
import { createLaneCertificate } from './certificate.ts';
import { LANE_ALPN } from './constants.ts';
import { dialLane } from './lane-dial.ts';
import type { LaneSocket } from './lane-socket.ts';
import { portOf, signal } from './test-lane.ts';

const CHUNK_BYTES = 64 * 1024;
const DIGEST = digestOf(Buffer.from('a blob'));
/** Far longer than any test; a test that needs the end of it says so. */
const NEVER_MS = 600_000;
const DRIP_MS = 20;

type Answer = (id: number, index: number, socket: TLSSocket, raw: Socket) => void;
type Rig = { lane: LaneSocket; buffers: CountedBuffers; violations: Error[] } & AsyncDisposable;

class CountedBuffers extends ChunkBuffers {
  taken = 0;
  readonly first = Promise.withResolvers<void>();

  override take(length: number): LentBuffer {
    this.taken++;
    this.first.resolve();
    return super.take(length);
  }
}

/** A lane to a peer that answers as the test wants. */
async function laneTo(
  answer: Answer,
  limits: { stallMs?: number; bodyMs?: number } = {},
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
  const buffers = new CountedBuffers();
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
    stallMs: limits.stallMs ?? NEVER_MS,
    bodyMs: limits.bodyMs ?? NEVER_MS,
  };
  const lane = await dialLane(member, modules, signal().signal);
  const end = async (): Promise<void> => {
    lane.close();
    for (const raw of raws.values()) raw.destroy();
    server.close();
  };
  return { lane, buffers, violations, [Symbol.asyncDispose]: end };
}

function fetch(lane: LaneSocket, index: number, o: { signal: AbortSignal } = signal()) {
  return lane.fetch({ digest: DIGEST, index, length: CHUNK_BYTES }, o.signal);
}

function headOf(id: number, more: Partial<LaneHead> = {}): Buffer {
  const head = Buffer.alloc(LANE_HEAD_BYTES);
  writeLaneHead({ id, status: 'ok', bodyBytes: CHUNK_BYTES, ...more }, head);
  return head;
}

function bodyOf(index: number): Buffer {
  return Buffer.alloc(CHUNK_BYTES, index + 1);
}

test('a lane that the peer resets is closed, as one that it ends', async () => {
  await using rig = await laneTo((_id, _index, _socket, raw) => raw.resetAndDestroy());
  await assert.rejects(fetch(rig.lane, 0), code('CLOSED'));
  await assert.rejects(fetch(rig.lane, 0), code('CLOSED'));
  assert.deepEqual(rig.violations, []);
});

test('a body that trickles is given up like one that stalls', async () => {
  const trickle: Answer = (id, _index, socket) => {
    socket.write(headOf(id));
    const timer = setInterval(() => socket.write('x'), DRIP_MS);
    socket.on('close', () => clearInterval(timer));
  };
  await using rig = await laneTo(trickle, { bodyMs: DRIP_MS * 20 });
  await assert.rejects(fetch(rig.lane, 0), code('TIMEOUT'));
  assert.equal(rig.lane.closed, true);
});

test('bytes that nobody asked for are a breach, what came before them is good', async () => {
  const tooMuch: Answer = (id, index, socket) => {
    socket.write(Buffer.concat([headOf(id), bodyOf(index), Buffer.alloc(LANE_HEAD_BYTES)]));
  };
  await using rig = await laneTo(tooMuch);
  using chunk = await fetch(rig.lane, 3);
  assert.ok(chunk.bytes.equals(bodyOf(3)));
  await assert.rejects(fetch(rig.lane, 4), code('PROTOCOL'));
  assert.equal(rig.violations.length, 1);
});

test('an answer to another request, of another length or of no meaning is a breach', async () => {
  const answers = [
    (id: number) => headOf(id + 1),
    (id: number) => headOf(id, { bodyBytes: CHUNK_BYTES - 1 }),
    (id: number) => headOf(id, { bodyBytes: CHUNK_BYTES + 1 }),
    (id: number) => headOf(id, { status: 'busy' }),
    (id: number) => headOf(id).fill(0xff, 4, 8),
  ];
  for (const answer of answers) {
    // oxlint-disable no-await-in-loop -- one after the other
    await using rig = await laneTo((id, _index, socket) => void socket.write(answer(id)));
    await assert.rejects(fetch(rig.lane, 0), code('PROTOCOL'));
    assert.equal(rig.violations.length, 1);
    assert.equal(rig.buffers.bytesOut, 0);
    // oxlint-enable no-await-in-loop
  }
});

test('the buffer of a body that was cut is not lent again', async () => {
  await using rig = await laneTo((id, index, socket) => {
    socket.end(Buffer.concat([headOf(id), bodyOf(index).subarray(CHUNK_BYTES / 2)]));
  });
  await assert.rejects(fetch(rig.lane, 0), code('CLOSED'));
  assert.equal(rig.buffers.bytesOut, 0);
  assert.equal(rig.buffers.bytesKept, 0);
});

test('the body of a request that was given up takes no memory and spoils no other', async () => {
  const release = Promise.withResolvers<void>();
  const answer: Answer = (id, index, socket) => {
    const bytes = Buffer.concat([headOf(id), bodyOf(index)]);
    if (index > 0) return void release.promise.then(() => socket.write(bytes));
    socket.write(bytes.subarray(0, CHUNK_BYTES / 2));
    void release.promise.then(() => socket.write(bytes.subarray(CHUNK_BYTES / 2)));
    return undefined;
  };
  await using rig = await laneTo(answer);
  const abort = new AbortController();
  const left = assert.rejects(fetch(rig.lane, 0, abort), /enough/);
  const aborted = assert.rejects(fetch(rig.lane, 1, abort), /enough/);
  await abortable(rig.buffers.first.promise, signal().signal);
  abort.abort(new Error('enough'));
  await Promise.all([left, aborted]);
  const next = fetch(rig.lane, 2);
  release.resolve();
  using chunk = await next;
  assert.ok(chunk.bytes.equals(bodyOf(2)));
  assert.equal(rig.buffers.bytesOut, CHUNK_BYTES);
  assert.equal(rig.buffers.taken, 2);
  assert.equal(rig.lane.load, 0);
});
