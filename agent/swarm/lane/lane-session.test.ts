import assert from 'node:assert/strict';
import { once } from 'node:events';
import { duplexPair, type Duplex } from 'node:stream';
import { test } from 'node:test';
import { digestOf } from '../../../proto/oci/digest.ts';
import { createLogger } from '../../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../../proto/ops/metrics.ts';
import { CodedError } from '../../../proto/std/errors.ts';
import { LANE_HEAD_BYTES, readLaneHead } from '../../../proto/swarm/lane.ts';
import { UPLOAD_BUFFER_BYTES } from '../constants.ts';
import type { ContentReader, ServableBlob } from '../content-reader.ts';
import { GrantTable } from '../grant-table.ts';
import { createSwarmMetrics } from '../metrics.ts';
import { writePatienceMs } from '../patience.ts';
import { code, TestFleet, type TestBlob } from '../test-fleet.ts';
import { UploadSlots, type UploadSlot } from '../upload-slots.ts';
import { LANE_PIPELINE_MAX } from './constants.ts';
import { LaneSession } from './lane-session.ts';
import { chunkFrame, MIB } from './test-lane.ts';

const ROUNDS = 50;
const graceMs = (): number => 0;

/** Serves a blob over a pair of streams that confirms a write after its bytes were read. */
async function session(
  parts: { uploads?: UploadSlots; wrap?: (content: ContentReader) => ContentReader } = {},
) {
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
    content: parts.wrap?.(content) ?? content,
    trust,
    fleetId,
    graceMs,
    grants,
    metrics,
    member: client.membership,
    stillMember: () => true,
    uploads: parts.uploads ?? new UploadSlots({ uploads: 4 }),
    relay: { publicGrant: () => undefined, tagStatement: () => undefined },
    now: Date.now,
    ban: (_peer, _reason, detail) => banned.reject(new Error('banned', { cause: detail })),
    logger: createLogger({ level: 'silent', name: 'test' }),
  });
  const end = async (): Promise<void> => {
    served.close();
    await fleet[Symbol.asyncDispose]();
  };
  return { ours, theirs, blob, banned, registry, [Symbol.asyncDispose]: end };
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

/** Bytes as they come, until so many are there. */
function received(theirs: Duplex, bytes: number): Promise<Buffer> {
  const done = Promise.withResolvers<Buffer>();
  let all = Buffer.alloc(0);
  theirs.on('data', (part: Buffer) => {
    all = Buffer.concat([all, part]);
    if (all.length >= bytes) done.resolve(all);
  });
  theirs.resume();
  return done.promise;
}

function askFirst(theirs: Duplex, blob: TestBlob): void {
  theirs.write(chunkFrame({ id: 1, kind: 'getChunk', digest: blob.digest, index: 0 }));
}

const SLOW_MS = writePatienceMs(UPLOAD_BUFFER_BYTES) - 1;

test('a peer on a slow line keeps its lane', async (t) => {
  await using rig = await session();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  assert.ok(SLOW_MS > (UPLOAD_BUFFER_BYTES * 8 * 1_000) / 100_000, 'a slice at 100 kbit/s');
  askFirst(rig.theirs, rig.blob);
  await once(rig.theirs, 'readable');
  t.mock.timers.tick(SLOW_MS);
  const whole = LANE_HEAD_BYTES + MIB;
  assert.equal((await received(rig.theirs, whole)).length, whole);
});

test('a peer that takes nothing loses its lane', async (t) => {
  await using rig = await session();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  askFirst(rig.theirs, rig.blob);
  await once(rig.theirs, 'readable');
  const failed = once(rig.ours, 'error');
  t.mock.timers.tick(SLOW_MS + 1);
  const [err]: unknown[] = await failed;
  assert.ok(code('TIMEOUT')(err));
});

/** Evicts what is not retained whenever a body waits for its turn. */
class EvictingSlots extends UploadSlots {
  retained = 0;
  evicted = false;

  override acquire(...args: Parameters<UploadSlots['acquire']>): Promise<UploadSlot | undefined> {
    this.evicted ||= this.retained === 0;
    return super.acquire(...args);
  }

  /** A blob that says when it is evicted. */
  wrap(blob: ServableBlob, gone: () => boolean): ServableBlob {
    const read = (into: Buffer, position: number): Promise<void> =>
      gone()
        ? Promise.reject(new CodedError('gone', { code: 'EVICTED' }))
        : blob.read(into, position);
    const retain = (): Disposable => {
      this.retained++;
      return { [Symbol.dispose]: () => void this.retained-- };
    };
    const facts = { size: blob.size, chunkCount: blob.chunkCount, have: blob.have };
    const { complete, statement, hashes } = blob;
    const chunkRange = (index: number) => blob.chunkRange(index);
    const onChange = (listener: () => void) => blob.onChange(listener);
    return { ...facts, complete, statement, hashes, chunkRange, onChange, read, retain };
  }
}

test('a chunk that was promised is not evicted while it waits for its turn', async () => {
  for (const [gone, status] of [
    [undefined, 'ok'],
    [() => true, 'notFound'],
  ] as const) {
    const uploads = new EvictingSlots({ uploads: 1 });
    const wrap = (content: ContentReader): ContentReader => ({
      small: (digest) => content.small(digest),
      find: (digest) => {
        const blob = content.find(digest);
        return blob && uploads.wrap(blob, gone ?? (() => uploads.evicted));
      },
    });
    // oxlint-disable no-await-in-loop -- one after the other
    await using rig = await session({ uploads, wrap });
    askFirst(rig.theirs, rig.blob);
    const answer = await received(rig.theirs, LANE_HEAD_BYTES);
    assert.equal(readLaneHead(answer).status, status);
    // oxlint-enable no-await-in-loop
  }
});
