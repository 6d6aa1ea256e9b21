import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get as httpGet } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { request } from 'undici';
import { patternBytes, putHubBlob } from './fixture-images.ts';
import { slices, startTestMirror } from './fixture.ts';
import type { TestMirror } from './fixture.ts';

const LARGE = patternBytes(5 * 1024 * 1024);
const RUNTIME_STATUSES = [200, 206, 304, 400, 401, 404, 416, 503];

async function status(url: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await request(url, { headers });
  await response.body.dump();
  return response.statusCode;
}

function openResponse(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sending = httpGet(url, (response) => {
      response.on('error', () => {});
      resolve(response);
    });
    sending.once('error', reject);
  });
}

/** Resolves when the response has ended, well or not. */
async function closed(response: IncomingMessage): Promise<void> {
  if (!response.closed) await new Promise((resolve) => response.once('close', resolve));
}

/** Sends raw bytes and returns all that comes back until the connection ends. */
async function raw(on: TestMirror, text: string): Promise<string> {
  const { hostname, port } = new URL(on.url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

/** Reads of a blob that deliver `until` bytes and then stand still until they are aborted. */
function standStill(on: TestMirror, until: number): void {
  on.content.read = (bytes) =>
    async function* read({ start }, o) {
      if (until > start) yield* slices(bytes, 65_536)({ start, end: until }, o);
      await new Promise((_resolve, reject) => {
        o.signal?.addEventListener('abort', () => reject(new Error('aborted')));
      });
    };
}

test('a stall cuts the connection, and the resumed request is sent on', async () => {
  await using on = await startTestMirror({ bodyStallTimeout: 100, headersTimeout: 2_000 });
  const digest = putHubBlob(on, 'app', LARGE);
  const url = `${on.url}/v2/app/blobs/${digest}`;
  standStill(on, 1_000_000);
  const response = await openResponse(url);
  response.resume();
  await closed(response);
  assert.equal(response.complete, false);
  assert.equal(on.content.openHandles, 0, 'the cursor is released');
  assert.equal(await status(url, { range: 'bytes=1000000-' }), 404);
  on.content.read = undefined;
  assert.equal(await status(url), 404, 'until something moves');
  on.local.large.set(digest, { size: LARGE.length, have: { count: 1 }, complete: false });
  assert.equal(await status(url), 200);
  standStill(on, 0);
  const again = await openResponse(url);
  again.resume();
  await closed(again);
  assert.equal(await status(url), 404);
  on.content.read = undefined;
  on.clock.nowMs += 31_000;
  assert.equal(await status(url), 200, 'or the stall is long ago');
  assert.match(await on.metrics.text(), /mirror_stalls_total\{side="source"\} 2/);
});

test('a reader waits longer while other parts of the blob arrive', async (t) => {
  await using on = await startTestMirror({ bodyStallTimeout: 50 });
  const digest = putHubBlob(on, 'app', LARGE);
  standStill(on, 1_000_000);
  const response = await openResponse(`${on.url}/v2/app/blobs/${digest}`);
  response.resume();
  let looks = 0;
  const have = {
    get count(): number {
      looks += 1;
      return Math.min(looks, 10);
    },
  };
  on.local.large.set(digest, { size: LARGE.length, have, complete: false });
  await closed(response);
  t.diagnostic(`${looks} looks`);
  assert.ok(looks > 10, 'it is cut only when nothing arrives any more');
});

test('a client that does not read is cut', async () => {
  await using on = await startTestMirror({ clientStallTimeout: 1_000 });
  const huge = Buffer.alloc(64 * 1024 * 1024, 7);
  const digest = putHubBlob(on, 'app', huge);
  const response = await openResponse(`${on.url}/v2/app/blobs/${digest}`);
  await on.mirror.drain(new AbortController().signal);
  assert.match(await on.metrics.text(), /mirror_stalls_total\{side="client"\} 1/);
  assert.equal(on.content.openHandles, 0);
  response.destroy();
});

test('without an answer in time it is 503, and a late handle is released', async () => {
  await using on = await startTestMirror({ headersTimeout: 100 });
  const digest = putHubBlob(on, 'app', LARGE);
  const deaf = Promise.withResolvers<void>();
  on.content.beforeOpen = () => deaf.promise;
  assert.equal(await status(`${on.url}/v2/app/blobs/${digest}`), 503);
  deaf.resolve();
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  assert.equal(on.content.openHandles, 0);
});

test('headers go out in time though the first byte is late', async () => {
  await using on = await startTestMirror({ headersTimeout: 600 });
  const digest = putHubBlob(on, 'app', LARGE);
  const first = Promise.withResolvers<void>();
  on.content.read = (bytes) =>
    async function* read(range, o) {
      await first.promise;
      yield* slices(bytes, 65_536)(range, o);
    };
  const response = await openResponse(`${on.url}/v2/app/blobs/${digest}`);
  assert.equal(response.statusCode, 200);
  first.resolve();
  response.resume();
  await once(response, 'end');
  assert.equal(response.complete, true);
});

test('more requests than allowed are sent on at once', async () => {
  await using on = await startTestMirror({ requestsMax: 1 });
  const digest = putHubBlob(on, 'app', LARGE);
  standStill(on, 70_000);
  const first = await openResponse(`${on.url}/v2/app/blobs/${digest}`);
  assert.equal(await status(`${on.url}/v2/`), 503);
  first.destroy();
});

test('with the cache full and enough served past it, the runtime is sent on by 404', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  on.content.read = (bytes) =>
    async function* read(range, o) {
      if (range.start >= 0) throw Object.assign(new Error('no room'), { code: 'FULL' });
      yield* slices(bytes, 65_536)(range, o);
    };
  assert.equal(await status(`${on.url}/v2/app/blobs/${digest}`), 404);
  on.content.read = undefined;
  assert.equal(await status(`${on.url}/v2/app/blobs/${digest}`), 200);
});

test('draining refuses new requests and lets running ones end', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  const gate = Promise.withResolvers<void>();
  on.content.read = (bytes) =>
    async function* read(range, o) {
      yield* slices(bytes, 65_536)({ ...range, end: 131_072 }, o);
      await gate.promise;
      yield* slices(bytes, 65_536)({ ...range, start: 131_072 }, o);
    };
  const running = await openResponse(`${on.url}/v2/app/blobs/${digest}`);
  const limit = new AbortController();
  const drained = on.mirror.drain(limit.signal);
  assert.equal(await status(`${on.url}/v2/`), 503);
  gate.resolve();
  running.resume();
  await once(running, 'end');
  await drained;
  assert.equal(running.complete, true);
});

test('the deadline of a drain cuts what still runs', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  standStill(on, 131_072);
  const running = await openResponse(`${on.url}/v2/app/blobs/${digest}`);
  running.resume();
  const limit = new AbortController();
  const drained = on.mirror.drain(limit.signal);
  limit.abort();
  await drained;
  await closed(running);
  assert.equal(running.complete, false);
  assert.match(await on.metrics.text(), /kind="blob",code="cut"\} 1/);
});

test('methods and routes of a full registry are 404', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
    const body = method === 'PUT' ? patternBytes(300_000) : '{"a":';
    const headers = { 'content-type': 'application/json' };
    const response = await request(`${on.url}/v2/app/blobs/${digest}`, { method, headers, body });
    assert.equal(response.statusCode, 404, method);
    assert.match(await response.body.text(), /UNSUPPORTED/, method);
  }
  const hex = 'a'.repeat(64);
  for (const path of [
    '/v2/_catalog',
    '/v2/app/tags/list',
    `/v2/app/referrers/${digest}`,
    `/v2/app/_flotilla/chunks/statement/sha256:${hex}`,
    '/v2/app/blobs/uploads/x',
    '/v1/',
    '/',
    '/metrics',
  ]) {
    assert.equal(await status(`${on.url}${path}`), 404, path);
  }
});

test('bad input is answered 400, 404 or cut, and the mirror goes on', async () => {
  await using on = await startTestMirror();
  const lines = [
    'GET /v2/..%2f..%2fetc/manifests/latest HTTP/1.1',
    'GET /v2/../../etc/passwd HTTP/1.1',
    'GET /v2/a%00b/manifests/latest HTTP/1.1',
    'GET /v2/%zz/manifests/latest HTTP/1.1',
    'GET /v2/a/manifests/%E0%A4%A HTTP/1.1',
    'GET /v2/a/blobs/sha256:abc HTTP/1.1',
    'GET /v2/a/manifests/x?ns=a/b HTTP/1.1',
    'GET /v2/a/manifests/x?ns=docker.io&ns=b HTTP/1.1',
    `GET /v2/${'a/'.repeat(3_000)}manifests/x HTTP/1.1`,
    `GET /v2/${'a'.repeat(9_000)}/manifests/x HTTP/1.1`,
    'GET http://docker.io/v2/ HTTP/1.1',
    'GET * HTTP/1.1',
    'GET //v2//app/manifests/x HTTP/1.1',
    'BREW /v2/ HTTP/1.1',
    'GET /v2/ HTTP/9.9',
    'PRI * HTTP/2.0',
    'nonsense',
    `GET /v2/ HTTP/1.1\r\nx-large: ${'a'.repeat(70_000)}`,
    'GET /v2/ HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked',
    'GET /v2/app/manifests/none HTTP/1.1\r\nexpect: miracles',
    'CONNECT 10.0.0.1:22 HTTP/1.1',
  ];
  for (const line of lines) {
    const answer = await raw(on, `${line}\r\nhost: x\r\nconnection: close\r\n\r\n`);
    const code = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1];
    assert.ok(code === undefined || code === '400' || code === '404', `${line}: ${answer}`);
  }
  assert.equal(await status(`${on.url}/v2/`), 200);
  assert.equal(on.logs.filter(({ level }) => level === 'error').length, 0);
});

test('every status of the mirror is one that runtimes react to sanely', async () => {
  await using on = await startTestMirror();
  on.hub.down = true;
  await status(`${on.url}/v2/`);
  await status(`${on.url}/v2/app/manifests/v1`);
  await status(`${on.url}/v2/app/manifests/v1?ns=x.example`);
  const codes = [...(await on.metrics.text()).matchAll(/requests_total\{.*code="(\d+)"/g)];
  assert.equal(codes.length, 3);
  for (const [, code] of codes) assert.ok(RUNTIME_STATUSES.includes(Number(code)), code);
});

test('it listens on every address it is given and skips one the machine lacks', async () => {
  await using on = await startTestMirror({ listen: ['192.0.2.1:0', '127.0.0.1:0', '127.0.0.2:0'] });
  assert.equal(on.mirror.urls.length, 2);
  for (const url of on.mirror.urls) assert.equal(await status(`${url}/v2/`), 200);
  assert.equal(on.logs.filter(({ level }) => level === 'warn').length, 1);
});
