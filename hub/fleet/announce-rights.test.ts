import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AnnounceRequest, AnnounceResponse } from '../../proto/hubapi/schemas.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { Announcements } from './announcements.ts';
import { BlobSizes } from './blob-sizes.ts';
import { BLOB_SIZE_CACHE_MS, UNKNOWN_BLOB_CACHE_MS } from './constants.ts';
import { BLOB, BLOB_SIZE, download, TestAgent, TestHub } from './fleet-fixture.ts';
import { MemberTable } from './member-table.ts';
import { createFleetMetrics } from './metrics.ts';
import { Tracker } from './tracker.ts';

const PRIVATE = 'private/app';
const UNKNOWN = digestOf(Buffer.from('nobody has this'));

/** A hub with a holder of the private blob, and a member without rights to it. */
async function started(t: TestContext): Promise<{ hub: TestHub; eve: TestAgent }> {
  const hub = await TestHub.start(t);
  const [holder, eve] = [new TestAgent(), new TestAgent()];
  await hub.enrol(holder, 'holder');
  await hub.enrol(eve, 'eve');
  const held = download({ repository: PRIVATE, token: PRIVATE, complete: true });
  assert.equal((await hub.call(holder, 'announce', { full: true, downloads: [held] })).status, 200);
  return { hub, eve };
}

/** What a member is told of a blob, but for its digest. */
async function told(hub: TestHub, agent: TestAgent, fields: Parameters<typeof download>[0]) {
  const reply = await hub.call(agent, 'announce', { full: false, downloads: [download(fields)] });
  const [answer] = checkBody(AnnounceResponse, reply.body).downloads;
  assert.ok(answer);
  return { ...answer, digest: '' };
}

test('who may not read a blob is told of it what he is told of one that is nowhere', async (t) => {
  const { hub, eve } = await started(t);
  const ways = [
    { repository: PRIVATE },
    { repository: PRIVATE, token: 'private/other' },
    { repository: 'team/public' },
    { repository: 'docker.io/library/x' },
  ];
  for (const way of ways) {
    for (const size of [BLOB_SIZE, BLOB_SIZE + 1]) {
      const nothing = await told(hub, eve, { ...way, digest: UNKNOWN, size, wanted: 4 });
      assert.deepEqual([nothing.peers, nothing.hubChunks], [[], []]);
      const answer = await told(hub, eve, { ...way, digest: BLOB, size, wanted: 4 });
      assert.deepEqual(answer, nothing, JSON.stringify({ ...way, size }));
    }
  }
});

test('a blob named as one of an upstream leads to nobody who has it from the hub', async (t) => {
  const { hub, eve } = await started(t);
  const way = { namespace: 'docker.io', repository: 'library/x', wanted: 4 };
  for (const size of [BLOB_SIZE, BLOB_SIZE + 1]) {
    const nothing = await told(hub, eve, { ...way, digest: UNKNOWN, size });
    assert.deepEqual(await told(hub, eve, { ...way, digest: BLOB, size }), nothing);
  }
  const other = new TestAgent();
  await hub.enrol(other, 'other');
  assert.equal((await told(hub, other, way)).peers.length, 1, 'those of the upstream meet');
});

test('the catalog is asked once for what many announce, and again after a while', async () => {
  const clock = { nowMs: 1000 };
  const asked: string[] = [];
  const here = new Set([`a ${BLOB}`]);
  const blobIn = async (repository: string, digest: string) => {
    asked.push(`${repository} ${digest}`);
    return here.has(`${repository} ${digest}`) ? { size: 7 } : undefined;
  };
  const sizes = new BlobSizes({ now: () => clock.nowMs }, { catalog: { blobIn } });
  const all = await Promise.all(Array.from({ length: 100 }, () => sizes.sizeIn('a', BLOB)));
  assert.deepEqual(new Set(all), new Set([7]));
  assert.equal(await sizes.sizeIn('b', BLOB), undefined);
  assert.equal(asked.length, 2);
  here.clear();
  here.add(`b ${BLOB}`);
  clock.nowMs += UNKNOWN_BLOB_CACHE_MS + 1;
  assert.equal(await sizes.sizeIn('b', BLOB), 7, 'pushed meanwhile');
  clock.nowMs += BLOB_SIZE_CACHE_MS + 1;
  assert.equal(await sizes.sizeIn('a', BLOB), undefined, 'deleted meanwhile');
});

test('a catalog that fails is asked again', async () => {
  let fails = true;
  const blobIn = async () => {
    if (fails) throw new Error('away');
    return { size: 7 };
  };
  const sizes = new BlobSizes({ now: () => 0 }, { catalog: { blobIn } });
  await assert.rejects(sizes.sizeIn('a', BLOB), /away/);
  fails = false;
  assert.equal(await sizes.sizeIn('a', BLOB), 7);
});

test('who is revoked while his announcement is looked at stays out of the tracker', async () => {
  const [table, tracker] = [new MemberTable(), new Tracker()];
  const who = { peerId: 'eve', node: 'eve', zone: '', addresses: [], libp2pPort: 1, lanePort: 0 };
  const times = { notBeforeMs: 0, notAfterMs: 1000, revokedAtMs: undefined };
  const made = { serial: 1, changed: 1, certificate: Buffer.alloc(1), build: '' };
  table.add({ ...who, ...times, ...made });
  const looked = Promise.withResolvers<number>();
  const announcements = new Announcements(
    { now: () => 500 },
    {
      tracker,
      table,
      sizes: { sizeIn: () => looked.promise },
      isPublic: () => true,
      privateRights: { mayRead: async () => true },
      metrics: createFleetMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }), {
        members: () => 0,
        tracker: () => tracker.stats,
      }),
    },
  );
  const body = checkBody(AnnounceRequest, { full: true, downloads: [download({})] });
  const answer = announcements.answer(table.require('eve', { nowMs: 500 }), body);
  for (const peer of table.revoke(new Set([1]), { nowMs: 500, changed: 2 })) tracker.forget(peer);
  looked.resolve(BLOB_SIZE);
  await assert.rejects(answer, { code: 'REVOKED' });
  assert.equal(tracker.stats.members, 0);
});

test('a blob on its way into a repository is leased in order to who may read it', async (t) => {
  const coming = (repository: string, digest: string) =>
    digest === UNKNOWN && /^(?:docker\.io\/library|private)\/x$/.test(repository)
      ? { size: BLOB_SIZE, received: 0 }
      : undefined;
  const hub = await TestHub.start(t, { coming });
  const [one, other] = [new TestAgent(), new TestAgent()];
  await hub.enrol(one, 'one');
  await hub.enrol(other, 'other');
  const way = { repository: 'docker.io/library/x', digest: UNKNOWN, size: BLOB_SIZE, wanted: 2 };
  assert.deepEqual((await told(hub, one, way)).hubChunks, [0, 1]);
  const answer = await told(hub, other, way);
  assert.deepEqual(answer.hubChunks, [2, 3]);
  assert.equal(answer.peers.length, 1);
  for (const wrong of [{ repository: 'private/x' }, { size: BLOB_SIZE - 1 }]) {
    const nothing = await told(hub, other, { ...way, ...wrong });
    assert.deepEqual([nothing.peers, nothing.hubChunks], [[], []]);
  }
});
