import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ContentHasher } from '../../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES } from '../../../proto/chunks/layout.ts';
import { verifyBatch, type ProvisionalBatch } from '../../../proto/chunks/provisional.ts';
import { digestOf } from '../../../proto/oci/digest.ts';
import { TrustStore } from '../../../proto/trust/trust-store.ts';
import { MIB, type TestRegistry } from '../../registry/registry-fixture.ts';
import { bytesThat, ownerOf, twoHubs, type Hubs } from '../hubs-fixture.ts';
import type { UpstreamPolicy } from '../port.ts';
import { INGEST_HOLD_MS, PARK_BYTES } from '../pull-constants.ts';
import { bytesOf, Origin, sendRange, sendSome } from '../pull-fixture.ts';

const REPOSITORY = 'docker.io/library/app';
const SIZE = 8 * MIB + 5;
const SENT = 6 * MIB;
const CHECKED = { 'flotilla-provisional': 'leaves' };

type Batch = ProvisionalBatch | undefined;

/** Two hubs, and an image whose layer the first owns; the upstream sends some of that at first. */
async function halfSent(
  t: TestContext,
  o: { bytes?: Buffer; sent?: number; provisional?: UpstreamPolicy['provisional'] } = {},
) {
  const { provisional = 'readers', sent = SENT } = o;
  const origin = await Origin.start(t, 'docker.io', { provisional });
  const hubs = await twoHubs(t, origin);
  const bytes = o.bytes ?? bytesThat(SIZE, (digest) => ownerOf(digest, ['a', 'b']) === 'a');
  const { layer: digest } = origin.putImage('library/app', 'v1', bytes);
  assert.equal((await hubs.b.ask(`/v2/${REPOSITORY}/manifests/v1`)).status, 200);
  const rest = Promise.withResolvers<Buffer>();
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, sent);
    void rest.promise.then((all) => response.end(all.subarray(sent)));
    return true;
  };
  return { origin, hubs, bytes, digest, finish: rest.resolve };
}

/** What an agent is told that asks a hub. */
async function told(hubs: Hubs, hub: TestRegistry, digest: string, from?: number): Promise<Batch> {
  const { ring } = hubs.replicas;
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  const query = from === undefined ? '' : `?from=${from}`;
  const target = `/v2/${REPOSITORY}/_flotilla/chunks/provisional/${digest}${query}`;
  const { status, body } = await hub.ask(target);
  assert.ok(status === 200 || status === 404, body.toString());
  return status === 404 ? undefined : verifyBatch(body, trust);
}

/** All leaves up to `count`, as an agent learns them of one hub. */
async function leavesOf(
  hubs: Hubs,
  hub: TestRegistry,
  digest: string,
  count: number,
): Promise<{ leaves: Buffer; sessions: Set<string> }> {
  const sessions = new Set<string>();
  let leaves = Buffer.alloc(0);
  while (leaves.length < count * 32) {
    // oxlint-disable-next-line no-await-in-loop -- one question after the other
    const batch = await told(hubs, hub, digest, leaves.length / 32);
    assert.equal(batch?.state, 'running');
    sessions.add(batch.session.toString('hex'));
    leaves = Buffer.concat([leaves, batch.leaves]);
  }
  return { leaves, sessions };
}

function leavesIn(bytes: Buffer): Buffer {
  const hasher = new ContentHasher();
  hasher.update(bytes);
  return hasher.finish().leaves;
}

test('every hub tells the leaves of a blob that one of them fetches, in one session', async (t) => {
  const { hubs, bytes, digest, finish, origin } = await halfSent(t);
  const first = await told(hubs, hubs.b, digest);
  assert.equal(first?.state, 'running');
  assert.equal(first.size, SIZE);
  for (const hub of [hubs.b, hubs.a]) {
    // oxlint-disable-next-line no-await-in-loop -- one hub after the other
    const half = await leavesOf(hubs, hub, digest, SENT / LEAF_BYTES);
    assert.deepEqual(half.leaves, leavesIn(bytes).subarray(0, half.leaves.length));
    assert.deepEqual([...half.sessions], [first.session.toString('hex')]);
  }
  const waiting = told(hubs, hubs.b, digest, SIZE);
  finish(bytes);
  assert.equal((await waiting)?.state, 'stored');
  assert.equal(origin.count('GET', digest), 1);
});

test('who is told of wrong bytes by another hub hears of it there', async (t) => {
  const { hubs, digest, finish } = await halfSent(t);
  const first = await told(hubs, hubs.b, digest);
  const waiting = told(hubs, hubs.b, digest, SIZE);
  finish(bytesOf(SIZE, 'wrong'));
  const last = await waiting;
  assert.equal(last?.state, 'revoked');
  assert.deepEqual(last.session, first?.session);
});

test('who checks leaves gets all that has come, also where nobody else may read it', async (t) => {
  const { origin, hubs, bytes, digest, finish } = await halfSent(t, {
    provisional: 'swarm-only',
  });
  assert.equal((await told(hubs, hubs.b, digest))?.release, 'swarm-only');
  const range = `bytes=${5 * MIB}-${SENT - 1}`;
  const path = `/v2/${REPOSITORY}/blobs/${digest}`;
  const part = await hubs.b.ask(path, { headers: { ...CHECKED, range } });
  assert.equal(part.status, 206);
  assert.ok(part.body.equals(bytes.subarray(5 * MIB, SENT)));
  assert.equal(origin.count('GET', digest), 1, 'it came before the upstream was silent for long');
  const last = hubs.b.ask(path, { headers: { ...CHECKED, range: `bytes=${SENT}-${SIZE - 1}` } });
  finish(bytes);
  assert.ok((await last).body.equals(bytes.subarray(SENT)));
});

test('a blob goes on being shared when the hub that fetched it is gone', async (t) => {
  const { hubs, bytes, digest, origin } = await halfSent(t);
  const first = await told(hubs, hubs.b, digest);
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, SENT);
    return true;
  };
  const [dead, other] = hubs.all;
  await dead?.close();
  hubs.later.ms = INGEST_HOLD_MS + 1;
  await other?.owns(1);
  const second = await told(hubs, hubs.b, digest);
  assert.equal(second?.state, 'running');
  assert.ok(first && !second.session.equals(first.session), 'another try is another session');
});

test('agents hear of a blob from the hub that goes on with it, whoever owns it', async (t) => {
  const bytes = bytesThat(2 * PARK_BYTES, (digest) => {
    return ownerOf(digest, ['a', 'b']) === 'a' && ownerOf(digest, ['a', 'b', 'c']) === 'c';
  });
  const sent = PARK_BYTES + 2 * MIB;
  const { hubs, digest, finish, origin } = await halfSent(t, { bytes, sent });
  const leaves = sent / LEAF_BYTES;
  const before = await leavesOf(hubs, hubs.b, digest, leaves);
  await hubs.replicas.start('c');
  const { a, b } = hubs;
  const c = hubs.hubs.get('c');
  assert.ok(c);
  const after = await Promise.all([a, b, c].map((hub) => leavesOf(hubs, hub, digest, leaves)));
  assert.deepEqual(after, [before, before, before]);
  const path = `/v2/${REPOSITORY}/blobs/${digest}`;
  const reading = [b, c].map((hub) => hub.ask(path));
  finish(bytes);
  for (const { body } of await Promise.all(reading)) assert.ok(body.equals(bytes));
  assert.equal(origin.count('GET', digest), 1);
  assert.equal(digestOf(bytes), digest);
});

test('a hub that does not own a blob tells nothing of one that no manifest names', async (t) => {
  const { hubs, origin } = await halfSent(t);
  const other = bytesThat(SIZE + 1, (digest) => ownerOf(digest, ['a', 'b']) === 'a');
  const digest = origin.putBlob('library/app', other);
  origin.blobFault = (asked, response, all) => {
    sendRange(asked, response, all);
    return true;
  };
  assert.equal(await told(hubs, hubs.b, digest), undefined);
  assert.equal(origin.count('GET', digest), 0);
});
