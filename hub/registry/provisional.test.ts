import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { FakeIngest, FakeIngests } from '../upstream/provisional/fake-ingest.ts';
import { createProvisionalMetrics } from '../upstream/provisional/metrics.ts';
import { Provisional } from '../upstream/provisional/provisional.ts';
import { assertRefused, TestRegistry } from './registry-fixture.ts';

const BYTES = randomBytes(6 * LEAF_BYTES);
const DIGEST = digestOf(BYTES);
const REPOSITORY = 'docker.io/library/app';
const PATH = `/v2/${REPOSITORY}/_flotilla/chunks/provisional/${DIGEST}`;
const BLOB = `/v2/${REPOSITORY}/blobs/${DIGEST}`;
const CHECKED = { 'flotilla-provisional': 'leaves' };

function provisionalOf(ingests: FakeIngests): Provisional {
  const ring = KeyRing.create(0);
  const metrics = createProvisionalMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }));
  return new Provisional({}, { ingests, signingKey: () => ring.signingKey('statement'), metrics });
}

test('what is told of a blob on its way has the rights of the blob', async (t) => {
  const ingests = new FakeIngests();
  const provisional = provisionalOf(ingests);
  const mayPull = (repository: string) => repository === REPOSITORY;
  const hub = await TestRegistry.start(t, { provisional, mayPull });
  assertRefused(await hub.ask(PATH), 404, 'BLOB_UNKNOWN');
  const ingest = new FakeIngest(DIGEST, BYTES);
  ingests.put(REPOSITORY, ingest);
  ingests.put('docker.io/library/secret', ingest);
  ingest.receive(3 * LEAF_BYTES);
  const answer = await hub.ask(`${PATH}?from=1`);
  assert.equal(answer.status, 200);
  assert.ok(answer.body.includes(ingest.leavesFrom(1)));
  const secret = PATH.replace('/app/', '/secret/');
  assertRefused(await hub.ask(secret), 403, 'DENIED');
  const blob = { headers: { ...CHECKED, range: 'bytes=0-9' } };
  assertRefused(await hub.ask(BLOB.replace('/app/', '/secret/'), blob), 403, 'DENIED');
  assertRefused(await hub.ask(`${PATH}?from=-1`), 400, 'UNSUPPORTED');
  assertRefused(await hub.ask(PATH, { method: 'DELETE' }), 405, 'UNSUPPORTED');
});

test('what a member may not read it has nobody fetch ahead', async (t) => {
  const wished: string[] = [];
  const provisional = {
    ahead: (repository: string, digest: string) => void wished.push(`${repository} ${digest}`),
    batch: async () => undefined,
    open: async () => undefined,
  };
  const mayPull = (repository: string) => repository === REPOSITORY;
  const hub = await TestRegistry.start(t, { provisional, mayPull });
  const wish = PATH.replace('/provisional/', '/ahead/');
  assertRefused(await hub.ask(wish.replace('/app/', '/secret/')), 403, 'DENIED');
  assert.deepEqual(wished, []);
  assert.equal((await hub.ask(wish)).status, 200);
  assert.deepEqual(wished, [`${REPOSITORY} ${DIGEST}`]);
});

test('who checks bytes against leaves gets them as they come, others nothing', async (t) => {
  const ingests = new FakeIngests();
  const hub = await TestRegistry.start(t, { provisional: provisionalOf(ingests) });
  const ingest = new FakeIngest(DIGEST, BYTES);
  ingests.put(REPOSITORY, ingest);
  ingest.receive(2 * LEAF_BYTES);
  const range = `bytes=${LEAF_BYTES}-${4 * LEAF_BYTES - 1}`;
  const asked = hub.ask(BLOB, { headers: { ...CHECKED, range } });
  assertRefused(await hub.ask(BLOB, { headers: { range } }), 404, 'BLOB_UNKNOWN');
  assertRefused(await hub.ask(BLOB, { headers: CHECKED }), 416, 'SIZE_INVALID');
  ingest.receive(2 * LEAF_BYTES);
  const answer = await asked;
  assert.equal(answer.status, 206);
  assert.equal(
    answer.headers['content-range'],
    `bytes ${LEAF_BYTES}-${4 * LEAF_BYTES - 1}/${BYTES.length}`,
  );
  assert.ok(answer.body.equals(BYTES.subarray(LEAF_BYTES, 4 * LEAF_BYTES)));
});

test('bytes that come in small pieces take no more of the link than they are', async (t) => {
  const open = async () => ({
    size: BYTES.length,
    isGrowing: true,
    read: async (into: Uint8Array, position: number) =>
      BYTES.copy(into, 0, position, position + 10_000),
    [Symbol.asyncDispose]: async () => undefined,
  });
  const provisional = { open, ahead: () => {}, batch: async () => undefined };
  const hub = await TestRegistry.start(t, { provisional, uplink: 1024 * LEAF_BYTES });
  const range = `bytes=0-${LEAF_BYTES - 1}`;
  const { status, body } = await hub.ask(BLOB, { headers: { ...CHECKED, range } });
  assert.equal(status, 206);
  assert.ok(body.equals(BYTES.subarray(0, LEAF_BYTES)));
  assert.equal(await hub.metric('uplink_bytes_total'), LEAF_BYTES);
});

test('once it is stored it is a blob like any other', async (t) => {
  const hub = await TestRegistry.start(t, { provisional: provisionalOf(new FakeIngests()) });
  const digest = await hub.push(BYTES);
  const headers = { ...CHECKED, range: 'bytes=5-9' };
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`, { headers });
  assert.equal(answer.status, 206);
  assert.ok(answer.body.equals(BYTES.subarray(5, 10)));
});
