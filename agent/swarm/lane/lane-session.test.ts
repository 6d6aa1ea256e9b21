import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { digestOf } from '../../../proto/oci/digest.ts';
import { createLogger } from '../../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../../proto/ops/metrics.ts';
import { LANE_HEAD_BYTES, readLaneHead } from '../../../proto/swarm/lane.ts';
import { GrantTable } from '../grant-table.ts';
import { createSwarmMetrics } from '../metrics.ts';
import { TestFleet } from '../test-fleet.ts';
import { UploadSlots } from '../upload-slots.ts';
import { LANE_PIPELINE_MAX } from './constants.ts';
import { LaneSession } from './lane-session.ts';
import { chunkFrame, MIB } from './test-lane.ts';

const ROUNDS = 50;
const graceMs = (): number => 0;

/** Serves a blob over a pair of streams that confirms a write after its bytes were read. */
async function session() {
  const fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const blob = fleet.blob(5 * MIB);
  server.content.add(blob);
  const { members, content, membership } = server;
  const trust = fleet.trust();
  const fleetId = (): string => membership.fleetId;
  const grants = new GrantTable({ graceMs }, { trust, fleetId });
  grants.open(client.swarm.peerId, fleet.grant([blob.digest]));
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const idle = { admitted: 0, unadmitted: 0, peers: 0, uploads: 0, lanesIn: 0, lanesOut: 0 };
  const metrics = createSwarmMetrics(registry, () => idle);
  const banned = Promise.withResolvers<void>();
  const [ours, theirs] = duplexPair();
  const served = new LaneSession(ours, {
    members,
    content,
    trust,
    fleetId,
    graceMs,
    grants,
    metrics,
    member: client.membership,
    stillMember: () => true,
    uploads: new UploadSlots({ uploads: 4 }),
    relay: { publicGrant: () => undefined, tagStatement: () => undefined },
    now: Date.now,
    ban: (_peer, _reason, detail) => banned.reject(new Error('banned', { cause: detail })),
    logger: createLogger({ level: 'silent', name: 'test' }),
  });
  const end = async (): Promise<void> => {
    served.close();
    await fleet[Symbol.asyncDispose]();
  };
  return { theirs, blob, banned, registry, [Symbol.asyncDispose]: end };
}

test('who has an answer whole may ask again, before the system has confirmed it', async () => {
  await using rig = await session();
  const { theirs, banned } = rig;
  const absent = digestOf(Buffer.from('absent'));
  let asked = 0;
  const ask = (): void => {
    theirs.write(chunkFrame({ id: ++asked, kind: 'getChunk', digest: absent, index: 0 }));
  };
  const done = Promise.withResolvers<void>();
  let answers = 0;
  theirs.on('data', (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += LANE_HEAD_BYTES) {
      answers++;
      assert.equal(readLaneHead(bytes.subarray(at)).id, answers);
      if (answers === ROUNDS) done.resolve();
      else ask();
    }
  });
  for (let count = 0; count < LANE_PIPELINE_MAX; count++) ask();
  await Promise.race([done.promise, banned.promise]);
});

test('the bytes counted as sent are those of chunks', async () => {
  await using rig = await session();
  const { theirs, blob, registry } = rig;
  const getChunk = { kind: 'getChunk', digest: blob.digest } as const;
  theirs.write(chunkFrame({ id: 1, ...getChunk, index: 1 }));
  // The second answer comes when the first one is counted.
  theirs.write(chunkFrame({ id: 2, ...getChunk, index: blob.layout.chunkCount }));
  const done = Promise.withResolvers<Buffer>();
  let all = Buffer.alloc(0);
  theirs.on('data', (bytes: Buffer) => {
    all = Buffer.concat([all, bytes]);
    if (all.length === MIB + 2 * LANE_HEAD_BYTES) done.resolve(all);
  });
  const sent = await done.promise;
  const body = sent.subarray(LANE_HEAD_BYTES, LANE_HEAD_BYTES + MIB);
  assert.ok(body.equals(blob.bytes.subarray(MIB, 2 * MIB)));
  assert.match(await registry.text(), new RegExp(`uploaded_bytes_total ${MIB}$`, 'm'));
});
