import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { assertRefused, BASIC, locationOf, TestHub, withDigest } from './test-hub.ts';

const MIB = 1024 * 1024;
let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

async function* slices(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function assertHeld(bytes: Buffer, repository = 'team/app'): Promise<void> {
  const answer = await hub.ask(`/v2/${repository}/blobs/${digestOf(bytes)}`);
  assert.equal(answer.status, 200);
  assert.ok(answer.body.equals(bytes), 'the bytes that come back are those that were sent');
}

async function assertAbsent(digest: string): Promise<void> {
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`);
  assertRefused(answer, 404, 'BLOB_UNKNOWN');
}

test('a blob in one POST', async () => {
  const bytes = randomBytes(100_000);
  const digest = digestOf(bytes);
  const target = withDigest('/v2/team/app/blobs/uploads/', digest);
  const answer = await hub.ask(target, { method: 'POST', body: bytes });
  assert.equal(answer.status, 201);
  assert.equal(answer.headers['docker-content-digest'], digest);
  assert.match(locationOf(answer), new RegExp(`/v2/team/app/blobs/${digest}$`));
  await assertHeld(bytes);
});

test('a blob by POST and PUT, an empty one too', async () => {
  for (const bytes of [randomBytes(3 * MIB + 7), Buffer.alloc(0)]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await hub.push(bytes);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assertHeld(bytes);
  }
});

test('a blob of unknown length, streamed', async () => {
  const bytes = randomBytes(5 * MIB + 3);
  const location = await hub.open();
  const patched = await hub.ask(location, { method: 'PATCH', body: slices(bytes, 70_001) });
  assert.equal(patched.status, 202);
  assert.equal(patched.headers['range'], `0-${bytes.length - 1}`);
  const next = withDigest(locationOf(patched), digestOf(bytes));
  assert.equal((await hub.ask(next, { method: 'PUT' })).status, 201);
  await assertHeld(bytes);
});

test('a blob in chunks with Content-Range, the last one in the PUT', async () => {
  const bytes = randomBytes(300_000);
  let location = await hub.open();
  for (const start of [0, 100_000]) {
    const body = bytes.subarray(start, start + 100_000);
    const headers = { 'content-range': `${start}-${start + 99_999}` };
    // oxlint-disable-next-line no-await-in-loop -- in order
    const answer = await hub.ask(location, { method: 'PATCH', headers, body });
    assert.equal(answer.status, 202);
    location = locationOf(answer);
  }
  const headers = { 'content-range': '200000-299999' };
  const body = bytes.subarray(200_000);
  const last = withDigest(location, digestOf(bytes));
  assert.equal((await hub.ask(last, { method: 'PUT', headers, body })).status, 201);
  await assertHeld(bytes);
});

test('a chunk out of order is refused with where the upload goes on', async () => {
  const bytes = randomBytes(1_000);
  const location = await hub.open();
  const send = (start: number, end: number) =>
    hub.ask(location, {
      method: 'PATCH',
      headers: { 'content-range': `${start}-${end - 1}` },
      body: bytes.subarray(start, end),
    });
  assert.equal((await send(0, 400)).status, 202);
  for (const [start, end] of [
    [500, 700],
    [0, 400],
    [399, 700],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const refused = await send(start, end);
    assertRefused(refused, 416, 'SIZE_INVALID');
    assert.equal(refused.headers['range'], '0-399');
    assert.equal(locationOf(refused), location);
  }
  assert.equal((await send(400, 1_000)).status, 202);
  const put = await hub.ask(withDigest(location, digestOf(bytes)), { method: 'PUT' });
  assert.equal(put.status, 201);
  await assertHeld(bytes);
});

test('a Content-Range that is none, or not that of the body, is refused', async () => {
  const location = await hub.open();
  for (const range of ['bytes 0-8/10', '5', '9-0', '0-8', '0-10', '-5', 'a-b', '0-9-10']) {
    const headers = { 'content-range': range };
    // oxlint-disable-next-line no-await-in-loop -- in order
    const answer = await hub.ask(location, { method: 'PATCH', headers, body: Buffer.alloc(10) });
    assert.ok(answer.status === 400 || answer.status === 416, `${range}: ${answer.status}`);
  }
  const status = await hub.ask(location);
  assert.equal(status.headers['range'], '0-0');
});

test('after a dropped connection the upload goes on where it was', async () => {
  const bytes = randomBytes(2 * MIB);
  const location = await hub.open();
  const head =
    `PATCH ${location} HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n` +
    `Content-Length: ${bytes.length}\r\n\r\n`;
  await hub.raw(Buffer.concat([Buffer.from(head), bytes.subarray(0, MIB)]), true);
  const held = await untilIdle(location);
  assert.ok(held > 0 && held <= MIB, `the hub kept ${held} bytes`);
  const headers = { 'content-range': `${held}-${bytes.length - 1}` };
  const rest = await hub.ask(location, { method: 'PATCH', headers, body: bytes.subarray(held) });
  assert.equal(rest.status, 202);
  const put = await hub.ask(withDigest(location, digestOf(bytes)), { method: 'PUT' });
  assert.equal(put.status, 201);
  await assertHeld(bytes);
});

/** Bytes the hub holds of an upload once nobody writes to it any more. */
async function untilIdle(location: string): Promise<number> {
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    const probe = await hub.ask(location, { method: 'PATCH', body: Buffer.alloc(0) });
    if (probe.status === 202) return Number(String(probe.headers['range']).split('-')[1]) + 1;
    assert.equal(probe.status, 409);
  }
}

test('a wrong digest is refused in each style, and nothing is left of it', async () => {
  const bytes = randomBytes(50_000);
  const other = digestOf(randomBytes(8));
  const inOne = await hub.ask(withDigest('/v2/team/app/blobs/uploads/', other), {
    method: 'POST',
    body: bytes,
  });
  assertRefused(inOne, 400, 'DIGEST_INVALID');
  const location = await hub.open();
  assert.equal((await hub.ask(location, { method: 'PATCH', body: bytes })).status, 202);
  const inPut = await hub.ask(withDigest(location, other), { method: 'PUT' });
  assertRefused(inPut, 400, 'DIGEST_INVALID');
  const single = withDigest(await hub.open(), other);
  assertRefused(await hub.ask(single, { method: 'PUT', body: bytes }), 400, 'DIGEST_INVALID');
  await assertAbsent(other);
  await assertAbsent(digestOf(bytes));
});

test('a digest that is none is refused', async () => {
  const zeros = '0'.repeat(64);
  for (const digest of ['', 'sha256', 'sha256:', 'sha256:zz', `md5:${zeros}`, `SHA256:${zeros}`]) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const location = await hub.open();
    // oxlint-disable-next-line no-await-in-loop -- in order
    const answer = await hub.ask(withDigest(location, digest), { method: 'PUT', body: 'x' });
    assertRefused(answer, 400, 'DIGEST_INVALID');
  }
});

test('sha512 names a blob as well', async () => {
  const bytes = randomBytes(5 * MIB);
  const digest = digestOf(bytes, 'sha512');
  const target = withDigest(await hub.open(), digest);
  assert.equal((await hub.ask(target, { method: 'PUT', body: bytes })).status, 201);
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`);
  assert.ok(answer.body.equals(bytes));
});

test('a mount needs the blob in a repository, and falls back to an upload', async () => {
  const bytes = randomBytes(1_000);
  const digest = await hub.push(bytes, 'team/source');
  const from = (name: string) =>
    `/v2/team/target/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${name}`;
  assert.equal((await hub.ask(from('team/none'), { method: 'POST' })).status, 202);
  const unmounted = await hub.ask(`/v2/team/target/blobs/${digest}`, { method: 'HEAD' });
  assert.equal(unmounted.status, 404);
  assert.equal((await hub.ask(from('team/source'), { method: 'POST' })).status, 201);
  await assertHeld(bytes, 'team/target');
  const junk = '/v2/team/target/blobs/uploads/?mount=sha256:zz&from=..%2f..';
  assert.equal((await hub.ask(junk, { method: 'POST' })).status, 202);
});

test('an upload belongs to its repository, and is gone after DELETE', async () => {
  const location = await hub.open('team/app');
  const elsewhere = location.replace('team/app', 'team/other');
  assertRefused(await hub.ask(elsewhere, { method: 'GET' }), 404, 'BLOB_UPLOAD_UNKNOWN');
  assert.equal((await hub.ask(location, { method: 'DELETE' })).status, 204);
  assertRefused(await hub.ask(location), 404, 'BLOB_UPLOAD_UNKNOWN');
  const put = await hub.ask(withDigest(location, digestOf(Buffer.alloc(0))), { method: 'PUT' });
  assertRefused(put, 404, 'BLOB_UPLOAD_UNKNOWN');
});

test('two clients that push the same blob at once both succeed', async () => {
  const bytes = randomBytes(4 * MIB + 1);
  await Promise.all(Array.from({ length: 4 }, () => hub.push(bytes)));
  await assertHeld(bytes);
});

test('one upload is written by one request at a time', async () => {
  const location = await hub.open();
  const hold = Promise.withResolvers<void>();
  const slow = hub.ask(location, {
    method: 'PATCH',
    body: (async function* () {
      yield Buffer.alloc(10);
      await hold.promise;
    })(),
  });
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while ((await hub.metric('requests_in_flight')) === 0);
  const second = await hub.ask(location, { method: 'PATCH', body: Buffer.alloc(1) });
  assertRefused(second, 409, 'BLOB_UPLOAD_INVALID');
  hold.resolve();
  assert.equal((await slow).status, 202);
});

test('a body that ends early is no blob, and the hub goes on', async () => {
  const bytes = randomBytes(10_000);
  const target = withDigest(await hub.open(), digestOf(bytes));
  const head =
    `PUT ${target} HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n` +
    `Content-Length: ${bytes.length + 1}\r\n\r\n`;
  await hub.raw(Buffer.concat([Buffer.from(head), bytes]), true);
  await assertAbsent(digestOf(bytes));
  await hub.push(bytes);
});

test('nothing of finished, refused and cancelled uploads stays on disk', async () => {
  await using own = await TestHub.start();
  await own.push(randomBytes(1_000));
  const refused = withDigest(await own.open(), digestOf(randomBytes(1)));
  await own.ask(refused, { method: 'PUT', body: randomBytes(1_000) });
  await own.ask(await own.open(), { method: 'DELETE' });
  assert.deepEqual(readdirSync(path.join(own.folder, 'registry', 'uploads')), []);
});

/** The answer to a request that says how long it is and sends only its beginning. */
async function begun(method: string, target: string, length: number): Promise<[number, string]> {
  const headers = { authorization: BASIC, 'content-length': length };
  const sent = httpRequest(new URL(target, hub.url), { method, headers });
  sent.write('begin');
  const [answer] = await once(sent, 'response');
  const [body] = await once(answer, 'data');
  sent.destroy();
  return [answer.statusCode, String(body)];
}

test('a blob larger than any storage takes is refused before it is sent', async () => {
  const location = await hub.open();
  const digest = digestOf(Buffer.from('larger'));
  for (const [method, target] of [
    ['PATCH', location],
    ['PUT', withDigest(location, digest)],
    ['POST', withDigest('/v2/team/app/blobs/uploads/', digest)],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const [status, body] = await begun(method, target, 2 ** 45);
    assert.equal(status, 413, body);
    assert.match(body, /SIZE_INVALID.*at most 17592186044416 bytes/);
  }
  assert.equal((await hub.ask(location)).status, 204, 'the upload can still be given up');
});
