import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get as httpGet } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { request } from 'undici';
import { digestOf } from '../../proto/oci/digest.ts';
import {
  foreignOf,
  MANIFEST_TYPE,
  manifestOf,
  patternBytes,
  putHubBlob,
} from './fixture-images.ts';
import { slices, startTestMirror } from './fixture.ts';
import type { TestMirror } from './fixture.ts';

const LARGE = patternBytes(5 * 1024 * 1024 + 17);
const SMALL = patternBytes(10_000, 7);

async function get(
  url: string,
  headers: Record<string, string> = {},
  method: 'GET' | 'HEAD' = 'GET',
) {
  const response = await request(url, { headers, method });
  const body = Buffer.from(await response.body.arrayBuffer());
  return { status: response.statusCode, headers: response.headers, body };
}

function blobUrl(on: TestMirror, repository: string, digest: string): string {
  return `${on.url}/v2/${repository}/blobs/${digest}`;
}

/** Opens a response and leaves its body unread. */
function openResponse(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sending = httpGet(url, (response) => {
      response.on('error', () => {});
      resolve(response);
    });
    sending.once('error', reject);
  });
}

/** Reads until the end or the break of the connection. */
async function readToEnd(response: IncomingMessage): Promise<{ bytes: number; whole: boolean }> {
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  response.on('error', () => {});
  if (!response.closed) await once(response, 'close').catch(() => {});
  return { bytes, whole: response.complete };
}

test('a blob arrives whole and exact, large or small', async () => {
  await using on = await startTestMirror();
  for (const bytes of [LARGE, SMALL, Buffer.alloc(0)]) {
    const digest = putHubBlob(on, 'app', bytes);
    const got = await get(blobUrl(on, 'app', digest), { 'accept-encoding': 'gzip, zstd' });
    assert.equal(got.status, 200);
    assert.equal(digestOf(got.body), digest);
    assert.equal(got.headers['content-type'], 'application/octet-stream');
    assert.equal(got.headers['docker-content-digest'], digest);
    assert.equal(got.headers['accept-ranges'], 'bytes');
    assert.equal(got.headers['content-encoding'], undefined);
  }
  assert.equal(on.content.openHandles, 0);
});

test('any range of a streamed blob is the slice of its bytes', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  const url = blobUrl(on, 'app', digest);
  const position = fc.integer({ min: 0, max: LARGE.length - 1 });
  const shapes = fc.oneof(
    fc.tuple(position, fc.nat(200_000)).map(([a, n]) => [a, a + n] as const),
    position.map((a) => [Math.max(a, LARGE.length - 300_000), undefined] as const),
  );
  await fc.assert(
    fc.asyncProperty(shapes, async ([first, last]) => {
      const got = await get(url, { range: `bytes=${first}-${last ?? ''}` });
      const expected = LARGE.subarray(first, (last ?? LARGE.length) + 1);
      assert.equal(got.status, 206);
      assert.equal(
        got.headers['content-range'],
        `bytes ${first}-${first + expected.length - 1}/${LARGE.length}`,
      );
      assert.ok(got.body.equals(expected));
    }),
    { numRuns: 40 },
  );
  assert.equal((await get(url, { range: `bytes=${LARGE.length}-` })).status, 416);
  assert.equal(on.content.openHandles, 0);
});

test('HEAD tells the size without starting a download', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  on.hub.blobs.set(`app@${digest}`, LARGE.length);
  const got = await get(blobUrl(on, 'app', digest), {}, 'HEAD');
  assert.equal(got.status, 200);
  assert.equal(got.headers['content-length'], String(LARGE.length));
  assert.equal(on.content.opened.length, 0);
});

test('a blob is answered only where a right leads to it', async () => {
  await using on = await startTestMirror();
  const digest = on.content.put(LARGE);
  const statusIn = async (repository: string, query = ''): Promise<number> =>
    (await get(`${blobUrl(on, repository, digest)}${query}`, { range: 'bytes=0-9' })).status;
  assert.equal(await statusIn('app'), 404, 'nobody knows it there');
  on.hub.putManifest('app', 'v1', manifestOf([LARGE]), MANIFEST_TYPE);
  await get(`${on.url}/v2/app/manifests/v1`);
  assert.equal(await statusIn('app'), 206, 'a manifest of the repository references it');
  assert.equal(await statusIn('other'), 404, 'but not in another repository');
  assert.equal(await statusIn('app', '?ns=docker.io'), 404, 'nor another registry');
  on.hub.blobs.set(`third@${digest}`, LARGE.length);
  assert.equal(await statusIn('third'), 206, 'the hub confirms it there');
  on.grants.granted.add(`fourth@${digest}`);
  on.hub.down = true;
  assert.equal(await statusIn('fourth'), 206, 'a grant covers it');
  assert.equal(await statusIn('fifth'), 503, 'nobody can tell');
});

test('to name content of others as a foreign layer gives no right to it', async () => {
  await using on = await startTestMirror();
  const digest = on.content.put(SMALL);
  on.local.small.set(digest, SMALL);
  const greedy = foreignOf([SMALL]);
  on.hub.putManifest('app', 'v1', greedy, MANIFEST_TYPE);
  on.upstream.putManifest('library/app', 'v1', greedy, MANIFEST_TYPE);
  for (const base of ['/v2/app', '/v2/docker.io/app']) {
    assert.equal((await get(`${on.url}${base}/manifests/v1`)).status, 200);
    assert.equal((await get(`${on.url}${base}/blobs/${digest}`)).status, 404, base);
  }
});

test('what is on the node is answered without asking anybody', async () => {
  await using on = await startTestMirror();
  const [large, small] = [on.content.put(LARGE), on.content.put(SMALL)];
  on.hub.putManifest('app', 'v1', manifestOf([LARGE, SMALL]), MANIFEST_TYPE);
  await get(`${on.url}/v2/app/manifests/v1`);
  on.local.large.set(large, { size: LARGE.length, have: { count: 6 }, complete: true });
  on.local.small.set(small, SMALL);
  const { asked } = on.grants;
  on.hub.down = true;
  assert.equal((await get(blobUrl(on, 'app', large))).status, 200);
  assert.equal((await get(blobUrl(on, 'app', small))).status, 200);
  assert.equal(on.grants.asked, asked);
});

test('an upstream blob needs its manifest or the word of the upstream', async () => {
  await using on = await startTestMirror();
  const digest = on.content.put(SMALL);
  on.upstream.challenge = 'Basic realm="x"';
  on.upstream.accepts = 'Basic pod';
  const url = `${blobUrl(on, 'library/app', digest)}?ns=docker.io`;
  assert.equal((await get(url)).status, 401);
  on.upstream.putManifest('library/app', 'v1', manifestOf([SMALL]), MANIFEST_TYPE);
  const manifest = `${on.url}/v2/library/app/manifests/v1?ns=docker.io`;
  const authorization = 'Basic pod';
  await get(manifest, { authorization });
  assert.equal((await get(url, { authorization })).status, 200);
  assert.deepEqual(on.content.opened[0]?.namespace, 'docker.io');
  assert.equal(JSON.stringify(on.content.opened).includes('Basic'), false);
});

test('a small blob with a wrong byte is never sent, not even in part', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', SMALL);
  const wrong = Buffer.from(SMALL);
  wrong[9_999] = (wrong[9_999] ?? 0) ^ 1;
  on.content.blobs.set(digest, wrong);
  const got = await get(blobUrl(on, 'app', digest), { range: 'bytes=0-10' });
  assert.equal(got.status, 503);
  assert.equal(on.content.openHandles, 0);
});

test('a source that fails at once is answered 503, later the connection is cut', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  for (const failAt of [0, 1_000_000]) {
    on.content.read = (bytes) =>
      async function* read(range, o) {
        if (failAt > 0) yield* slices(bytes, 100_000)({ start: 0, end: failAt }, o);
        throw Object.assign(new Error(`broke at ${failAt} of ${range.end}`), { code: 'BROKEN' });
      };
    const response = await openResponse(blobUrl(on, 'app', digest));
    const end = await readToEnd(response);
    if (failAt === 0) assert.equal(response.statusCode, 503);
    else assert.deepEqual([response.statusCode, end.whole], [200, false]);
  }
  assert.equal(on.content.openHandles, 0);
  assert.equal(on.logs.filter(({ level }) => level === 'warn').length, 2);
});

test('a body is never shorter or longer than its headers said', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  const long = Buffer.concat([LARGE, Buffer.from('more')]);
  for (const [what, total] of [
    ['short', LARGE.length - 1],
    ['long', long.length],
  ] as const) {
    on.content.read = () => (_range, o) => slices(long, 65_536)({ start: 0, end: total }, o);
    const end = await readToEnd(await openResponse(blobUrl(on, 'app', digest)));
    assert.equal(end.whole, false, what);
    assert.ok(end.bytes < LARGE.length, what);
  }
});

test('a client that hangs up releases its cursor and is no failure', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  const released = Promise.withResolvers<void>();
  on.content.read = (bytes) =>
    async function* read(range, o) {
      yield* slices(bytes, 65_536)({ start: 0, end: 1_000_000 }, o);
      await new Promise((_resolve, reject) => {
        o.signal?.addEventListener('abort', () => {
          released.resolve();
          reject(new Error(`released at ${range.start}`));
        });
      });
    };
  const response = await openResponse(blobUrl(on, 'app', digest));
  await once(response, 'readable');
  response.destroy();
  await released.promise;
  await on.mirror.drain(new AbortController().signal);
  assert.equal(on.content.openHandles, 0);
  assert.deepEqual(
    on.logs.filter(({ level }) => level === 'warn'),
    [],
  );
  assert.match(await on.metrics.text(), /code="client_gone"\} 1/);
});

test('open-ended ranges that hang up after their part are served side by side', async () => {
  await using on = await startTestMirror();
  const digest = putHubBlob(on, 'app', LARGE);
  const part = 1024 * 1024;
  const starts = [0, 1, 2, 3, 4].map((index) => index * part);
  const parts = await Promise.all(
    starts.map(async (start) => {
      const abort = new AbortController();
      const { body } = await request(blobUrl(on, 'app', digest), {
        headers: { range: `bytes=${start}-` },
        signal: abort.signal,
      });
      const pieces: Buffer[] = [];
      let length = 0;
      for await (const piece of body as AsyncIterable<Buffer>) {
        pieces.push(piece);
        length += piece.length;
        if (length >= part) break;
      }
      return Buffer.concat(pieces).subarray(0, part);
    }),
  );
  const got = Buffer.concat(parts);
  assert.ok(got.equals(LARGE.subarray(0, got.length)));
});
