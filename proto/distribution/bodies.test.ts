import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { digestOf } from '../oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../oci/manifest.ts';
import { OCI_MANIFEST } from '../oci/media-types.ts';
import { parseReference } from '../oci/name.ts';
import { formatContentRange, parseRange } from '../oci/ranges.ts';
import { allClosed, BY_DIGEST, BYTES, bytesOf, DIGEST, REPOSITORY } from './test-registry.ts';
import { testRegistry, type TestRegistry } from './test-registry.ts';

type Headers = Record<string, string | number | string[]>;

/** A registry that gives every request this answer; without a length it is sent in chunks. */
function answering(
  t: TestContext,
  status: number,
  headers: Headers,
  body: Buffer | string = BYTES,
): Promise<TestRegistry> {
  return testRegistry(t, (_request, response) => {
    response.writeHead(status, headers);
    response.write(body);
    response.end();
  });
}

async function openWhole(registry: TestRegistry, range: object = {}): Promise<Buffer> {
  const blob = await registry.client().openBlob(REPOSITORY, DIGEST, range);
  return bytesOf(blob?.body);
}

function* pieces(): Generator<Buffer, void, undefined> {
  for (;;) yield Buffer.alloc(64 * 1024);
}

const PART = { start: 2, end: 6 };
const part = (headers: Headers = {}): Headers => ({
  'content-range': 'bytes 2-5/10',
  'content-length': 4,
  ...headers,
});

test('every part of a blob comes as it was asked for', async (t) => {
  const registry = await testRegistry(t, ({ headers }, response) => {
    const range = parseRange(headers.range, BYTES.length);
    const { start, end } = range.kind === 'part' ? range : { start: 0, end: BYTES.length };
    if (range.kind === 'part') {
      response.statusCode = 206;
      response.setHeader('content-range', formatContentRange(start, end, BYTES.length));
    }
    response.end(BYTES.subarray(start, end));
  });
  const client = registry.client();
  const bounds = fc.tuple(fc.nat(8), fc.integer({ min: 1, max: 10 })).filter(([a, b]) => a < b);
  await fc.assert(
    fc.asyncProperty(bounds, fc.boolean(), async ([start, end], open) => {
      const asked = open ? { start } : { start, end };
      const blob = await client.openBlob(REPOSITORY, DIGEST, asked);
      const expected = BYTES.subarray(start, open ? undefined : end);
      assert.deepEqual(await bytesOf(blob?.body), expected);
      assert.deepEqual([blob?.size, blob?.start, blob?.end], [10, start, start + expected.length]);
    }),
    { numRuns: 30 },
  );
  assert.deepEqual(await openWhole(registry), BYTES);
  assert.deepEqual(await client.readBlob(REPOSITORY, DIGEST, { maxBytes: 10 }), BYTES);
});

test('a body that ends early is told, after what came of it', async (t) => {
  const registry = await testRegistry(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 10 });
    response.write('01234', () => response.destroy());
  });
  await assert.rejects(openWhole(registry), { code: 'BODY_SHORT' });
  const read = registry.client().readBlob(REPOSITORY, DIGEST, { maxBytes: 100 });
  await assert.rejects(read, { code: 'BODY_SHORT' });
});

test('a part in chunks must have the length its range says', async (t) => {
  const range = { 'content-range': 'bytes 2-5/10' };
  const long = await testRegistry(t, (_request, response) => {
    response.writeHead(206, range).write(BYTES);
  });
  await assert.rejects(openWhole(long, PART), { code: 'BODY_LONG' });
  await allClosed(long);
  const short = await answering(t, 206, range, '23');
  await assert.rejects(openWhole(short, PART), { code: 'BODY_SHORT' });
  const right = await answering(t, 206, range, '2345');
  assert.equal(String(await openWhole(right, PART)), '2345');
});

test('bytes beyond the declared length are not part of the body', async (t) => {
  const registry = await testRegistry(t, (_request, { socket }) => {
    socket?.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789 and more');
  });
  assert.deepEqual(await openWhole(registry), BYTES);
});

test('another range than the asked one is refused and its connection cut', async (t) => {
  const wrong: readonly [status: number, headers: Headers, range?: object][] = [
    [200, { 'content-length': 10 }],
    [200, { 'content-length': 10 }, { start: 0, end: 6 }],
    [206, part({ 'content-range': 'bytes 0-3/10' })],
    [206, part({ 'content-range': 'bytes 2-5/*' })],
    [206, part({ 'content-range': 'bytes 2-9/10', 'content-length': 8 })],
    [206, part({ 'content-range': 'bytes 2-5/10, bytes 2-5/10' })],
    [206, part({ 'content-range': ['bytes 2-5/10', 'bytes 2-5/12'] })],
    [206, part({ 'content-range': 'bytes 5-2/10' })],
    [206, part({ 'content-range': 'bytes 2-5/4' })],
    [206, part({ 'content-range': '2-5/10' })],
    [206, part({ 'content-length': 5 })],
    [206, { 'content-length': 4 }],
    [206, { 'content-type': 'multipart/byteranges; boundary=x' }],
  ];
  for (const [status, headers, range = PART] of wrong) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(t, (_request, response) => {
      response.writeHead(status, headers).write('23');
    });
    const opened = openWhole(registry, range);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(opened, { code: 'RANGE_IGNORED' }, JSON.stringify(headers));
    // oxlint-disable-next-line no-await-in-loop
    await allClosed(registry);
  }
});

test('a part that nobody asked for is not taken for the whole', async (t) => {
  const registry = await answering(t, 206, part(), '2345');
  const client = registry.client();
  const tag = parseReference('latest');
  await assert.rejects(client.getManifest(REPOSITORY, tag), {
    code: 'HTTP_STATUS',
    data: { code: 'HTTP_STATUS', status: 206 },
  });
  await assert.rejects(client.openBlob(REPOSITORY, DIGEST), { code: 'HTTP_STATUS' });
});

test('a blob of unknown size is refused, not taken for an empty one', async (t) => {
  const registry = await answering(t, 200, {});
  await assert.rejects(openWhole(registry), { code: 'LENGTH_UNKNOWN' });
  const head = await testRegistry(t, (_request, response) => {
    response.setHeader('transfer-encoding', 'chunked');
    response.end();
  });
  const asked = head.client().headBlob(REPOSITORY, DIGEST);
  await assert.rejects(asked, { code: 'LENGTH_UNKNOWN' });
  assert.deepEqual(await registry.client().readBlob(REPOSITORY, DIGEST, { maxBytes: 10 }), BYTES);
});

test('an encoded body is refused, however it is declared', async (t) => {
  const body = gzipSync(BYTES);
  for (const coding of ['gzip', 'GZIP', 'zstd', 'identity, gzip', ['identity', 'gzip']]) {
    const headers = { 'content-encoding': coding, 'content-length': body.length };
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await answering(t, 200, headers, body);
    const client = registry.client();
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(client.openBlob(REPOSITORY, DIGEST), { code: 'ENCODED' });
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(client.getManifest(REPOSITORY, BY_DIGEST), { code: 'ENCODED' });
    assert.equal(registry.requests[0]?.headers['accept-encoding'], 'identity');
  }
  const plain = await answering(t, 200, { 'content-encoding': 'Identity', 'content-length': 10 });
  assert.deepEqual(await openWhole(plain), BYTES);
});

test('bytes of another digest are refused', async (t) => {
  const other = digestOf(Buffer.from('other'));
  const headers = { 'content-type': OCI_MANIFEST, 'docker-content-digest': other };
  const registry = await answering(t, 200, headers);
  const client = registry.client();
  const calls = [
    () => client.readBlob(REPOSITORY, other, { maxBytes: 10 }),
    () => client.getManifest(REPOSITORY, { kind: 'digest', digest: other }),
    () => client.getManifest(REPOSITORY, parseReference('latest')),
  ];
  for (const call of calls) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(call(), { code: 'DIGEST_MISMATCH' });
  }
  const found = await client.getManifest(REPOSITORY, BY_DIGEST);
  assert.deepEqual(found, { bytes: BYTES, digest: DIGEST, mediaType: OCI_MANIFEST });
});

test('an oversize body is cut at its bound, declared or not', async (t) => {
  const declared = await testRegistry(t, (_request, response) => {
    response.writeHead(200, { 'content-length': MANIFEST_MAX_BYTES + 1 });
    response.write('x');
  });
  const asked = declared.client().getManifest(REPOSITORY, BY_DIGEST);
  await assert.rejects(asked, { code: 'TOO_LARGE' });
  await allClosed(declared);
  const endless = await testRegistry(t, (_request, response) => {
    Readable.from(pieces())
      .on('error', () => {})
      .pipe(response);
  });
  const client = endless.client();
  await assert.rejects(client.getManifest(REPOSITORY, BY_DIGEST), { code: 'TOO_LARGE' });
  await assert.rejects(client.readBlob(REPOSITORY, DIGEST, { maxBytes: 1 }), { code: 'TOO_LARGE' });
  await allClosed(endless);
});

test('headers that never end, a silent server and a stalled body time out', async (t) => {
  const timeouts = { connectMs: 50, headersMs: 50, bodyIdleMs: 50 };
  const silent = await testRegistry(t, () => {});
  const dripping = await testRegistry(t, (_request, { socket }) => {
    socket?.write('HTTP/1.1 200 OK\r\n');
    const drip = setInterval(() => socket?.write('x-more: y\r\n'), 20);
    socket?.once('close', () => clearInterval(drip));
  });
  const early = await testRegistry(t, (_request, { socket }) => {
    const drip = setInterval(() => socket?.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 20);
    socket?.once('close', () => clearInterval(drip));
  });
  for (const registry of [silent, dripping, early]) {
    const asked = registry.client({ timeouts }).headBlob(REPOSITORY, DIGEST);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(asked, { code: 'TIMEOUT' });
    // oxlint-disable-next-line no-await-in-loop
    await allClosed(registry);
  }
  const stalled = await testRegistry(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 10 }).write('01234');
  });
  const blob = await stalled.client({ timeouts }).openBlob(REPOSITORY, DIGEST);
  await assert.rejects(bytesOf(blob?.body), { code: 'TIMEOUT' });
  await allClosed(stalled);
});

test('headers without measure are refused', async (t) => {
  const registry = await testRegistry(t, (_request, { socket }) => {
    socket?.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(64 * 1024)}\r\n\r\n`);
  });
  await assert.rejects(openWhole(registry), { code: 'UNREACHABLE' });
});

test('an aborted call ends with its reason and frees its connection at any time', async (t) => {
  const reason = new Error('enough');
  const started = Promise.withResolvers<void>();
  const registry = await testRegistry(t, ({ url }, response) => {
    if (url?.includes('/blobs/')) response.writeHead(200, { 'content-length': 10 }).write('0');
    started.resolve();
  });
  const client = registry.client();
  const waiting = new AbortController();
  const asked = client.getManifest(REPOSITORY, BY_DIGEST, { signal: waiting.signal });
  await started.promise;
  waiting.abort(reason);
  await assert.rejects(asked, reason);
  await allClosed(registry);
  for (const reads of [true, false]) {
    const controller = new AbortController();
    const { signal } = controller;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const blob = await client.openBlob(REPOSITORY, DIGEST, { signal });
    const read = reads ? bytesOf(blob?.body) : Promise.reject(reason);
    controller.abort(reason);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(read, reason);
    // oxlint-disable-next-line no-await-in-loop
    await allClosed(registry);
  }
  await assert.rejects(client.headBlob(REPOSITORY, DIGEST, { signal: waiting.signal }), reason);
});

test('a reader that stops early frees the connection', async (t) => {
  const registry = await testRegistry(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 10 }).write('01234');
  });
  const blob = await registry.client().openBlob(REPOSITORY, DIGEST);
  for await (const _ of blob?.body ?? []) break;
  await allClosed(registry);
});

test('a registry that is not there is unreachable', async (t) => {
  const registry = await testRegistry(t, ({ socket }) => socket.destroy());
  await assert.rejects(openWhole(registry), { code: 'UNREACHABLE', message: /127\.0\.0\.1/ });
  const gone = registry.client({ baseUrl: 'http://127.0.0.1:1' });
  await assert.rejects(gone.headBlob(REPOSITORY, DIGEST), { code: 'UNREACHABLE' });
});

test('other failures carry their status, a 404 is no failure', async (t) => {
  const statuses = [404, 500, 429, 301, 416];
  const registry = await testRegistry(t, (_request, response) => {
    response.writeHead(statuses.shift() ?? 500).end('x'.repeat(1_000_000));
  });
  const client = registry.client();
  assert.equal(await client.headBlob(REPOSITORY, DIGEST), undefined);
  for (const status of statuses.slice()) {
    // oxlint-disable-next-line no-await-in-loop -- one answer after the other
    await assert.rejects(client.readBlob(REPOSITORY, DIGEST, { maxBytes: 10 }), {
      code: 'HTTP_STATUS',
      data: { code: 'HTTP_STATUS', status },
    });
  }
});

test('the body of a failure holds nobody up, however slowly it comes', async (t) => {
  const statuses = [404, 500];
  const registry = await testRegistry(t, (_request, response) => {
    response.writeHead(statuses.shift() ?? 500).write('not a word more');
  });
  const client = registry.client({ timeouts: { bodyIdleMs: 3_600_000 } });
  const options = { maxBytes: 10 };
  assert.equal(await client.readBlob(REPOSITORY, DIGEST, options), undefined);
  await assert.rejects(client.readBlob(REPOSITORY, DIGEST, options), { code: 'HTTP_STATUS' });
  await allClosed(registry);
});
