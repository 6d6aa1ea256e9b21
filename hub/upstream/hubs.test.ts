import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, MIB } from '../registry/registry-fixture.ts';
import { ownedByA, twoHubs } from './hubs-fixture.ts';
import { INGEST_HOLD_MS, PARK_BYTES } from './pull-constants.ts';
import { bytesOf, Origin, sendRange, sendSome } from './pull-fixture.ts';

test('a blob comes once to two hubs, each tag and manifest too', async (t) => {
  const origin = await Origin.start(t);
  const hubs = await twoHubs(t, origin);
  const { manifest, layer, config } = origin.putImage('library/app', 'latest', bytesOf(5 * MIB));
  const ask = (path: string) =>
    Promise.all(
      [hubs.a, hubs.b, hubs.a, hubs.b].map((hub) => hub.ask(`/v2/docker.io/app/${path}`)),
    );
  for (const { status, headers } of await ask('manifests/latest')) {
    assert.equal(status, 200);
    assert.equal(headers['docker-content-digest'], manifest);
  }
  assert.equal(origin.count('GET', 'manifests'), 1);
  for (const digest of [layer, config]) {
    for (const { status, body } of await ask(`blobs/${digest}`)) {
      assert.equal(status, 200, body.toString().slice(0, 300));
    }
    assert.equal(origin.count('GET', digest), 1);
  }
  const parts = await ask(`blobs/${layer}`);
  assert.ok(parts.every(({ body }) => body.equals(bytesOf(5 * MIB))));
});

test('a reader at another hub gets what is here, and why a blob does not come', async (t) => {
  const origin = await Origin.start(t);
  const hubs = await twoHubs(t, origin);
  const { bytes, digest } = ownedByA(hubs, origin, 3 * MIB);
  const rest = Promise.withResolvers<void>();
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, 2 * MIB);
    void rest.promise.then(() => response.end(bytes.subarray(2 * MIB)));
    return true;
  };
  const path = `/v2/docker.io/library/app/blobs/${digest}`;
  const part = await hubs.b.ask(path, { headers: { range: `bytes=${MIB}-${2 * MIB - 1}` } });
  assert.ok(part.body.equals(bytes.subarray(MIB, 2 * MIB)));
  rest.resolve();
  assert.ok((await hubs.b.ask(path)).body.equals(bytes));
  assert.equal(origin.count('GET', digest), 1);
  const wrong = ownedByA(hubs, origin, 2 * MIB + 1);
  origin.blobFault = (asked, response) => {
    sendRange(asked, response, bytesOf(wrong.bytes.length, 'wrong'));
    return true;
  };
  const other = `/v2/docker.io/library/app/blobs/${wrong.digest}`;
  await hubs.b.ask(other).catch(() => undefined);
  const refused = await hubs.b.ask(other);
  assertRefused(refused, 503, 'UNAVAILABLE');
  assert.match(refused.body.toString(), /docker\.io sends other bytes/);
  const none = `/v2/docker.io/library/app/blobs/sha256:${'0'.repeat(64)}`;
  for (const hub of [hubs.a, hubs.b]) assertRefused(await hub.ask(none), 404, 'BLOB_UNKNOWN');
});

test('readers go on at the next hub when the one that fetches a blob dies', async (t) => {
  const origin = await Origin.start(t);
  const hubs = await twoHubs(t, origin);
  const parked = 2 * PARK_BYTES;
  const sent = parked + PARK_BYTES / 2;
  const { bytes, digest } = ownedByA(hubs, origin, parked + PARK_BYTES);
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, sent);
    return true;
  };
  const path = `/v2/docker.io/library/app/blobs/${digest}`;
  const reading = hubs.b.ask(path);
  while ((await hubs.a.metric('upstream_ingest_bytes_total')) < sent) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  origin.blobFault = undefined;
  const [dead] = hubs.all;
  await dead?.close();
  // Nobody says any more that it goes on with the blob.
  hubs.later.ms = INGEST_HOLD_MS + 1;
  assert.ok((await reading).body.equals(bytes));
  const ranges = origin.asked.filter(({ method }) => method === 'GET').map(({ range }) => range);
  assert.deepEqual(ranges, [undefined, `bytes=${parked}-`]);
});
