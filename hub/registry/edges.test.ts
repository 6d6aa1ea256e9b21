import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { REFUSED_BODY_MS } from './constants.ts';
import { assertRefused, BASIC, MIB, TestRegistry } from './registry-fixture.ts';

const ZEROS = `sha256:${'0'.repeat(64)}`;

test('at the bound of open uploads one more is told to come back, and can later', async (t) => {
  const hub = await TestRegistry.start(t, { uploadsMax: 2 });
  const many = await Promise.all(
    Array.from({ length: 6 }, () => hub.ask('/v2/team/app/blobs/uploads/', { method: 'POST' })),
  );
  const refused = many.filter(({ status }) => status !== 202);
  assert.equal(refused.length, 4);
  for (const answer of refused) {
    assertRefused(answer, 429, 'TOOMANYREQUESTS');
    assert.match(String(answer.headers['retry-after']), /^\d+$/);
  }
  const open = many.find(({ status }) => status === 202);
  await hub.ask(String(open?.headers['location']), { method: 'DELETE' });
  await hub.open();
});

test('a chunk of unknown length must be as long as its Content-Range', async (t) => {
  const hub = await TestRegistry.start(t);
  for (const length of [99, 101]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const location = await hub.open();
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(location, {
      method: 'PATCH',
      headers: { 'content-range': '0-99' },
      body: Readable.from([randomBytes(length)]),
    });
    assertRefused(answer, 400, 'BLOB_UPLOAD_INVALID');
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assertRefused(await hub.ask(location), 404, 'BLOB_UPLOAD_UNKNOWN');
  }
});

test('the last chunk in the PUT has its order checked too, and may be sent again', async (t) => {
  const hub = await TestRegistry.start(t);
  const bytes = randomBytes(1_000);
  const location = await hub.open();
  await hub.ask(location, { method: 'PATCH', body: bytes.subarray(0, 600) });
  const put = (start: number) =>
    hub.ask(`${location}?digest=${digestOf(bytes)}`, {
      method: 'PUT',
      headers: { 'content-range': `${start}-999` },
      body: bytes.subarray(start),
    });
  const refused = await put(700);
  assertRefused(refused, 416, 'SIZE_INVALID');
  assert.equal(refused.headers['range'], '0-599');
  assert.equal(refused.headers['location'], location);
  assert.equal((await put(600)).status, 201);
});

test('a client that sends all of a refused body before it reads gets the answer', async (t) => {
  const hub = await TestRegistry.start(t);
  const socket = await hub.connect();
  const size = MANIFEST_MAX_BYTES + 12 * MIB;
  socket.write(
    `PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n` +
      `Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n`,
  );
  const parts: Buffer[] = [];
  socket.pause();
  await new Promise((resolve) => socket.write(Buffer.alloc(size, 0x20), resolve));
  await new Promise((resolve) => socket.write('\r\n0\r\n\r\n', resolve));
  socket.on('data', (part: Buffer) => parts.push(part)).resume();
  socket.write('GET /v2/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n');
  await once(socket, 'close');
  const text = Buffer.concat(parts).toString();
  assert.match(text, /^HTTP\/1\.1 413 [^]*"MANIFEST_INVALID"/);
  assert.match(text, /HTTP\/1\.1 401 /, 'the connection goes on');
});

test('the answer to a refused body comes before a connection ends that is to end', async (t) => {
  const hub = await TestRegistry.start(t);
  const socket = await hub.connect();
  const size = MANIFEST_MAX_BYTES + 12 * MIB;
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  const closed = once(socket, 'close');
  socket.write(
    `PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n` +
      `Connection: close\r\nContent-Length: ${size}\r\n\r\n`,
  );
  await once(socket, 'data');
  const sent = Promise.withResolvers<unknown>();
  socket.write(Buffer.alloc(size, 0x20), sent.resolve);
  assert.equal((await sent.promise) ?? undefined, undefined, 'all of the body is taken');
  await closed;
  assert.match(Buffer.concat(parts).toString(), /^HTTP\/1\.1 413 [^]*"MANIFEST_INVALID"/);
});

test('a connection lives on after a refused body that came to its end', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const hub = await TestRegistry.start(t);
  const socket = await hub.connect();
  const answered = async (status: number): Promise<void> => {
    const [part] = await once(socket, 'data');
    assert.match(String(part), new RegExp(`^HTTP/1\\.1 ${status} `));
  };
  const size = MANIFEST_MAX_BYTES + 1;
  socket.write(
    `PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n` +
      `Content-Length: ${size}\r\n\r\n`,
  );
  await answered(413);
  await new Promise((resolve) => socket.write(Buffer.alloc(size, 0x20), resolve));
  socket.write('GET /v2/ HTTP/1.1\r\nHost: hub\r\n\r\n');
  await answered(401);
  t.mock.timers.tick(REFUSED_BODY_MS);
  socket.write(`GET /v2/ HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n\r\n`);
  await answered(200);
  socket.destroy();
});

test('a refused body that does not end costs the client its connection', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const hub = await TestRegistry.start(t);
  const socket = await hub.connect();
  socket.write(
    `PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n` +
      `Content-Length: ${MANIFEST_MAX_BYTES + 1}\r\n\r\n`,
  );
  const [part] = await once(socket, 'data');
  assert.match(String(part), /^HTTP\/1\.1 413 /);
  t.mock.timers.tick(REFUSED_BODY_MS);
  await once(socket, 'close');
});

test('a range counts for GET alone, and while If-Range is what is there', async (t) => {
  const hub = await TestRegistry.start(t);
  const bytes = randomBytes(1_000);
  const digest = await hub.push(bytes);
  const target = `/v2/team/app/blobs/${digest}`;
  const range = 'bytes=10-19';
  const head = await hub.ask(target, { method: 'HEAD', headers: { range } });
  assert.equal(head.status, 200);
  assert.equal(head.headers['content-length'], '1000');
  const same = await hub.ask(target, { headers: { range, 'if-range': `"${digest}"` } });
  assert.equal(same.status, 206);
  assert.ok(same.body.equals(bytes.subarray(10, 20)));
  const other = await hub.ask(target, { headers: { range, 'if-range': `"${ZEROS}"` } });
  assert.equal(other.status, 200);
  assert.ok(other.body.equals(bytes));
  const beyond = await hub.ask(target, { headers: { range: 'bytes=1000-' } });
  assertRefused(beyond, 416, 'SIZE_INVALID');
  assert.equal(beyond.headers['content-range'], 'bytes */1000');
});

test('what a client already has is not sent again', async (t) => {
  const hub = await TestRegistry.start(t);
  const digest = await hub.push(randomBytes(100));
  const ask = (tag: string) =>
    hub.ask(`/v2/team/app/blobs/${digest}`, { headers: { 'if-none-match': tag } });
  for (const tag of [`"${digest}"`, `W/"${digest}"`, `"x", "${digest}"`, '*']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await ask(tag);
    assert.equal(answer.status, 304, tag);
    assert.equal(answer.body.length, 0);
  }
  assert.equal((await ask(`"${ZEROS}"`)).status, 200);
});

test('a method a path does not have is refused with those it has', async (t) => {
  const hub = await TestRegistry.start(t);
  const cases = [
    ['/v2/', 'POST', 'GET, HEAD'],
    ['/v2/team/app/blobs/uploads/', 'GET', 'POST'],
    ['/v2/team/app/tags/list', 'DELETE', 'GET, HEAD'],
    [`/v2/team/app/blobs/${ZEROS}`, 'PUT', 'GET, HEAD, DELETE'],
    ['/v2/team/app/manifests/v1', 'PATCH', 'GET, HEAD, PUT, DELETE'],
  ] as const;
  for (const [target, method, allow] of cases) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(target, { method });
    assertRefused(answer, 405, 'UNSUPPORTED');
    assert.equal(answer.headers['allow'], allow);
  }
});

test('Location is a path, so that clients go on where they began', async (t) => {
  const hub = await TestRegistry.start(t, {
    externalUrl: 'https://hub.example:8443',
    trustedProxies: ['127.0.0.1'],
  });
  const post = await hub.ask('/v2/team/app/blobs/uploads/', {
    method: 'POST',
    headers: { 'x-forwarded-host': 'other.example', 'x-forwarded-proto': 'https' },
  });
  const location = String(post.headers['location']);
  assert.match(location, /^\/v2\/team\/app\/blobs\/uploads\/[\w-]+$/);
  const bytes = randomBytes(10);
  const digest = digestOf(bytes);
  const put = await hub.ask(`${location}?digest=${digest}`, { method: 'PUT', body: bytes });
  assert.equal(put.headers['location'], `/v2/team/app/blobs/${digest}`);
});

test('a page of tags has a link to the next one, until the last', async (t) => {
  const hub = await TestRegistry.start(t);
  const mediaType = 'application/vnd.oci.empty.v1+json';
  const config = { mediaType, digest: await hub.push(Buffer.from('{}')), size: 2 };
  const tags = ['a', 'b', 'c', 'd', 'e'];
  for (const tag of tags) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await hub.putManifest(tag, { schemaVersion: 2, config, layers: [] });
  }
  const seen: string[] = [];
  let next: string | undefined = '/v2/team/app/tags/list?n=2';
  while (next !== undefined) {
    // oxlint-disable-next-line no-await-in-loop -- page after page
    const answer = await hub.ask(next);
    const page: { tags: string[] } = JSON.parse(answer.body.toString());
    seen.push(...page.tags);
    const { link } = answer.headers;
    next = typeof link === 'string' ? /^<([^>]+)>; rel="next"$/.exec(link)?.[1] : undefined;
  }
  assert.deepEqual(seen, tags);
  const none = await hub.ask('/v2/team/app/tags/list?n=0');
  assert.deepEqual(JSON.parse(none.body.toString()), { name: 'team/app', tags: [] });
  assert.equal(none.headers['link'], undefined);
  for (const n of ['-1', 'x', '1e9', '']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(`/v2/_catalog?n=${n}`);
    assertRefused(answer, 400, 'UNSUPPORTED');
  }
  assert.equal((await hub.ask('/v2/_catalog?n=2147483648')).status, 200);
});
