import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../../proto/oci/digest.ts';
import { postgresForTests } from '../../rig/postgres.ts';
import { sharedKeys } from '../shared-keys.ts';
import { assertRefused, TestHub, withDigest } from '../test-hub.ts';
import { s3ForTests } from './s3-rig.ts';

const MIB = 1024 * 1024;

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const { skip, server: bucket } = s3ForTests(withoutPostgres);

/** Hubs with folders of their own on one database and one bucket. */
async function replicas(t: TestContext, count: number): Promise<TestHub[]> {
  const server = await postgres();
  const database = await server.createDatabase();
  const sections = {
    catalog: { url: server.url(database), tls: 'off' },
    ...bucket().sections(`${database}/`),
    fleet: await sharedKeys(t),
  };
  return Promise.all(
    Array.from({ length: count }, async () => {
      const hub = await TestHub.start(sections);
      t.after(() => hub[Symbol.asyncDispose]());
      return hub;
    }),
  );
}

test('what is pushed through one replica is pulled through the other', { skip }, async (t) => {
  const [one, other] = await replicas(t, 2);
  assert.ok(one && other);
  const layer = randomBytes(9 * MIB);
  const { bytes } = await one.pushImage('v1', [layer]);
  assert.ok((await other.ask('/v2/team/app/manifests/v1')).body.equals(bytes));
  assert.ok((await other.ask(`/v2/team/app/blobs/${digestOf(layer)}`)).body.equals(layer));
});

test('an upload moves between replicas at every request', { skip }, async (t) => {
  const hubs = await replicas(t, 3);
  const [first] = hubs;
  assert.ok(first);
  const parts = [3 * MIB, 1, 9 * MIB, 5 * MIB + 7].map((size) => randomBytes(size));
  const bytes = Buffer.concat(parts);
  const location = await first.open();
  for (const [i, body] of parts.entries()) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const answer = await hubs[(i + 1) % hubs.length]?.ask(location, { method: 'PATCH', body });
    assert.equal(answer?.status, 202, answer?.body.toString());
  }
  const put = await first.ask(withDigest(location, digestOf(bytes)), { method: 'PUT' });
  assert.equal(put.status, 201, put.body.toString());
  for (const hub of hubs) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.ok((await hub.ask(`/v2/team/app/blobs/${digestOf(bytes)}`)).body.equals(bytes));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assertRefused(await hub.ask(location), 404, 'BLOB_UPLOAD_UNKNOWN');
  }
});

test('of requests to one upload at many replicas, one writes at a time', { skip }, async (t) => {
  const hubs = await replicas(t, 3);
  const location = (await hubs[0]?.open()) ?? '';
  const body = randomBytes(2 * MIB);
  const many = await Promise.all(
    hubs.flatMap((hub) => [1, 2].map(() => hub.ask(location, { method: 'PATCH', body }))),
  );
  const done = many.filter(({ status }) => status === 202).length;
  for (const answer of many) {
    if (answer.status === 202) continue;
    // Of this hub, or of another one, which may also be dead: asked again it is free.
    if (answer.status === 409) assertRefused(answer, 409, 'BLOB_UPLOAD_INVALID');
    else assertRefused(answer, 503, 'UNAVAILABLE');
  }
  assert.ok(done > 0);
  const bytes = Buffer.concat(Array.from({ length: done }, () => body));
  const target = withDigest(location, digestOf(bytes));
  const put = await hubs[1]?.ask(target, { method: 'PUT' });
  assert.equal(put?.status, 201, put?.body.toString());
});

test('one blob pushed through all replicas at once is stored once', { skip }, async (t) => {
  const hubs = await replicas(t, 3);
  const bytes = randomBytes(6 * MIB);
  await Promise.all(hubs.flatMap((hub) => [hub.push(bytes), hub.push(bytes, 'team/other')]));
  for (const hub of hubs) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const found = await hub.ask(`/v2/team/other/blobs/${digestOf(bytes)}`);
    assert.ok(found.body.equals(bytes));
  }
});
