import assert from 'node:assert/strict';
import { digestOf } from '../../proto/oci/digest.ts';
import type { ContentReader } from './content-reader.ts';
import { sleep } from '../../proto/std/abort.ts';
import { TestFleet, type TestNode } from './test-fleet.ts';
import { chunkTransportConformance, type ConformanceRig } from './transport-conformance.ts';

const MIB = 1024 * 1024;
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

async function createRig(lane: boolean, stallMs: number): Promise<ConformanceRig> {
  const fleet = new TestFleet();
  const wrap = (content: ContentReader): ContentReader => ({
    small: (digest) => content.small(digest),
    find: (digest) => {
      const blob = content.find(digest);
      if (!blob) return undefined;
      const read = async (into: Buffer, position: number): Promise<void> => {
        await rig.onRead(position);
        await blob.read(into, position);
      };
      return { ...blob, complete: blob.complete, read };
    },
  });
  const { server, client } = await fleet.pair({ wrap, bodyStallMs: stallMs, lane });
  const blob = fleet.blob(6 * MIB + 4_321);
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
    const request = { digest: blob.digest, index: 0, length: MIB };
    using first = await client.swarm.transport.fetchChunk(rig.peerId, request, { signal });
    assert.equal(first.bytes.length, MIB);
    await untilLane(client);
  }
  return rig;
}

chunkTransportConformance('libp2p-stream', (o) => createRig(false, o.stallMs));
chunkTransportConformance('lane', (o) => createRig(true, o.stallMs));
