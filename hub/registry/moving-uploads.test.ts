import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, rm, truncate } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { assertRefused, MIB, TestRegistry } from './registry-fixture.ts';

/** Follows an upload from its address at one replica to that of another: the path is the same. */
async function patch(hub: TestRegistry, location: string, body: Buffer): Promise<void> {
  const answer = await hub.ask(location, { method: 'PATCH', body });
  assert.equal(answer.status, 202, answer.body.toString());
}

test('an upload goes on at another replica and back, and its chunks are known', async (t) => {
  const first = await TestRegistry.start(t, { holder: 'first', shared: true });
  const second = await TestRegistry.start(t, { holder: 'second', beside: first });
  const parts = [2 * MIB + 5, 1, 3 * MIB, 77].map((size) => randomBytes(size));
  const bytes = Buffer.concat(parts);
  for (const algorithm of ['sha256', 'sha512'] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one upload after the other
    const location = await first.open();
    for (const [i, part] of parts.entries()) {
      // oxlint-disable-next-line no-await-in-loop -- in order
      await patch(i % 2 === 0 ? first : second, location, part);
    }
    // oxlint-disable-next-line no-await-in-loop -- in order
    assert.equal((await first.ask(location)).headers['range'], `0-${bytes.length - 1}`);
    const digest = digestOf(bytes, algorithm);
    // oxlint-disable-next-line no-await-in-loop -- in order
    const put = await first.ask(`${location}?digest=${digest}`, { method: 'PUT' });
    assert.equal(put.status, 201, put.body.toString());
    for (const hub of [first, second]) {
      // oxlint-disable-next-line no-await-in-loop -- in order
      assert.ok((await hub.ask(`/v2/team/app/blobs/${digest}`)).body.equals(bytes));
      // oxlint-disable-next-line no-await-in-loop -- in order
      assertRefused(await hub.ask(location), 404, 'BLOB_UPLOAD_UNKNOWN');
    }
  }
  const whole = await first.catalog.blobChunks(await first.push(bytes));
  const moved = await first.catalog.blobChunks(digestOf(bytes, 'sha512'));
  assert.deepEqual(moved, whole);
});

test('a wrong digest of an upload that moved is refused, and nothing is left', async (t) => {
  const first = await TestRegistry.start(t, { holder: 'first', shared: true });
  const second = await TestRegistry.start(t, { holder: 'second', beside: first });
  const location = await first.open();
  await patch(first, location, randomBytes(2 * MIB));
  const target = `${location}?digest=${digestOf(randomBytes(1))}`;
  assertRefused(await second.ask(target, { method: 'PUT' }), 400, 'DIGEST_INVALID');
  assertRefused(await first.ask(location), 404, 'BLOB_UPLOAD_UNKNOWN');
  assert.deepEqual(await readdir(path.join(first.folder, 'registry', 'uploads')), []);
});

test('two requests to one upload at two replicas: one is refused and does no harm', async (t) => {
  const first = await TestRegistry.start(t, { holder: 'first', shared: true });
  const second = await TestRegistry.start(t, { holder: 'second', beside: first });
  const bytes = randomBytes(MIB);
  const location = await first.open();
  const hold = Promise.withResolvers<void>();
  const slow = first.ask(location, {
    method: 'PATCH',
    body: Readable.from(
      (async function* () {
        yield bytes.subarray(0, 10);
        await hold.promise;
        yield bytes.subarray(10);
      })(),
    ),
  });
  while ((await first.metric('blob_received_bytes_total')) === 0) {
    // oxlint-disable-next-line no-await-in-loop -- until the hub has it
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const method of ['PATCH', 'PUT', 'DELETE'] as const) {
    const target = `${location}?digest=${digestOf(bytes)}`;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const refused = await second.ask(target, { method });
    assertRefused(refused, 503, 'UNAVAILABLE');
  }
  hold.resolve();
  assert.equal((await slow).status, 202);
  const put = await second.ask(`${location}?digest=${digestOf(bytes)}`, { method: 'PUT' });
  assert.equal(put.status, 201, put.body.toString());
});

async function subjectOf({ headers }: IncomingMessage): Promise<string> {
  return String(headers['x-subject']);
}

function as(subject: string): { headers: Record<string, string> } {
  return { headers: { 'x-subject': subject } };
}

test('an upload is unknown to other subjects and under other repositories', async (t) => {
  const hub = await TestRegistry.start(t, { subjectOf, shared: true });
  const replica = await TestRegistry.start(t, { subjectOf, beside: hub });
  const opened = await hub.ask('/v2/team/app/blobs/uploads/', { method: 'POST', ...as('ann') });
  const location = String(opened.headers['location']);
  const bytes = randomBytes(1_000);
  await hub.ask(location, { method: 'PATCH', body: bytes, ...as('ann') });
  for (const one of [hub, replica]) {
    for (const [target, subject] of [
      [location, 'bob'],
      [location, ''],
      [location.replace('team/app', 'team/other'), 'ann'],
    ] as const) {
      for (const method of ['GET', 'PATCH', 'PUT', 'DELETE'] as const) {
        const query = `?digest=${digestOf(bytes)}`;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const answer = await one.ask(`${target}${query}`, { method, ...as(subject) });
        assertRefused(answer, 404, 'BLOB_UPLOAD_UNKNOWN');
      }
    }
  }
  const own = await replica.ask(location, as('ann'));
  assert.equal(own.headers['range'], '0-999');
});

for (const loss of ['shorter', 'gone'] as const) {
  test(`an upload whose bytes are ${loss} is unknown and can be started again`, async (t) => {
    const hub = await TestRegistry.start(t, { shared: true });
    const location = await hub.open();
    await patch(hub, location, randomBytes(MIB));
    const file = path.join(hub.folder, 'registry', 'uploads', path.basename(location));
    await (loss === 'gone' ? rm(file) : truncate(file, MIB - 1));
    const next = await TestRegistry.start(t, { beside: hub });
    const body = randomBytes(10);
    const answer = await next.ask(location, { method: 'PATCH', body });
    assertRefused(answer, 404, 'BLOB_UPLOAD_UNKNOWN');
    assertRefused(await next.ask(location), 404, 'BLOB_UPLOAD_UNKNOWN');
    assertRefused(await hub.ask(location, { method: 'PATCH', body }), 404, 'BLOB_UPLOAD_UNKNOWN');
    await next.push(body);
  });
}

test('bytes that the store changed while the upload moved are not taken for a blob', async (t) => {
  const hub = await TestRegistry.start(t, { shared: true });
  const location = await hub.open();
  const bytes = randomBytes(2 * MIB);
  await patch(hub, location, bytes);
  const file = path.join(hub.folder, 'registry', 'uploads', path.basename(location));
  await truncate(file, MIB);
  await truncate(file, 2 * MIB);
  const next = await TestRegistry.start(t, { beside: hub });
  const put = await next.ask(`${location}?digest=${digestOf(bytes)}`, { method: 'PUT' });
  assertRefused(put, 404, 'BLOB_UPLOAD_UNKNOWN');
  await next.push(bytes);
});
