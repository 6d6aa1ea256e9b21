import assert from 'node:assert/strict';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { sleep } from '../../proto/std/abort.ts';
import { readingAfter, TestFleet, type TestBlob, type TestNode } from './test-fleet.ts';
import { chunkTransportConformance, type ConformanceRig } from './transport-conformance.ts';

const MIB = 1024 * 1024;
const CHUNK_BYTES = 2 * MIB;
const TIMEOUT_MS = 20_000;
const POLL_MS = 5;

// The lane is dialled beside the first chunk; these promises are about chunks that travel on it.
async function untilLane(client: TestNode): Promise<void> {
  const { signal } = new AbortController();
  for (;;) {
    const text = await client.metrics.text();
    if (/swarm_lanes_total\{outcome="opened"\} 1/.test(text)) return;
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    await sleep(POLL_MS, { signal });
  }
}

/** Cut into chunks that need more than one read and write, so that they have a middle. */
function inLargeChunks(blob: TestBlob): TestBlob {
  const chunkCount = Math.ceil(blob.bytes.length / CHUNK_BYTES);
  const leavesPerChunk = CHUNK_BYTES / LEAF_BYTES;
  const layout = { ...blob.layout, leavesPerChunk, chunkBytes: CHUNK_BYTES, chunkCount };
  return { ...blob, layout };
}

async function createRig(lane: boolean, stallMs: number): Promise<ConformanceRig> {
  const fleet = new TestFleet();
  const wrap = readingAfter((position) => rig.onRead(position));
  const { server, client } = await fleet.pair({ wrap, bodyStallMs: stallMs, lane });
  const blob = inLargeChunks(fleet.blob(12 * MIB + 4_321));
  const ungranted = fleet.blob(5 * MIB);
  const absent = digestOf(Buffer.from('absent'));
  server.content.add(blob);
  server.content.add(ungranted);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const link = await client.swarm.link(server.membership, { signal });
  await link.openGrant(fleet.grant([blob.digest, absent]), { signal });
  const rig: ConformanceRig = {
    transport: lane ? client.swarm.transport : client.swarm.streams,
    peerId: server.swarm.peerId,
    blob,
    absent,
    ungranted: ungranted.digest,
    onRead: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
  if (lane) {
    const request = { digest: blob.digest, index: 0, length: CHUNK_BYTES };
    using first = await client.swarm.transport.fetchChunk(rig.peerId, request, { signal });
    assert.equal(first.bytes.length, CHUNK_BYTES);
    await untilLane(client);
  }
  return rig;
}

chunkTransportConformance('libp2p-stream', (o) => createRig(false, o.stallMs));
chunkTransportConformance('lane', (o) => createRig(true, o.stallMs));
