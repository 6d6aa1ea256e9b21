import { digestOf } from '../../proto/oci/digest.ts';
import type { ContentReader } from './content-reader.ts';
import { TestFleet } from './test-fleet.ts';
import { chunkTransportConformance, type ConformanceRig } from './transport-conformance.ts';

const MIB = 1024 * 1024;
const STALL_MS = 300;
const TIMEOUT_MS = 20_000;

chunkTransportConformance('libp2p-stream', async () => {
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
  const { server, client } = await fleet.pair({ wrap, bodyStallMs: STALL_MS });
  const blob = fleet.blob(6 * MIB + 4_321);
  const ungranted = fleet.blob(5 * MIB);
  const absent = digestOf(Buffer.from('absent'));
  server.content.add(blob);
  server.content.add(ungranted);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const link = await client.swarm.link(server.membership, { signal });
  await link.openGrant(fleet.grant([blob.digest, absent]), { signal });
  const rig: ConformanceRig = {
    transport: client.swarm.transport,
    peerId: server.swarm.peerId,
    blob,
    absent,
    ungranted: ungranted.digest,
    onRead: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
  return rig;
});
