import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { test, type TestContext } from 'node:test';
import { DockerHub } from './docker-hub.ts';
import type { Fault } from './faults.ts';

const SIZE = 100_000;
const REPOSITORY = 'library/faulty';

type Trial = { hub: DockerHub; url: string; headers: Record<string, string>; size: number };

/** A layer at the CDN, spoiled as asked for. */
async function trial(t: TestContext, fault: Fault, times?: number): Promise<Trial> {
  const hub = await DockerHub.start();
  t.after(() => hub[Symbol.asyncDispose]());
  const layers = [{ seed: 'faulty', bytes: SIZE }];
  const platforms = [{ os: 'linux', architecture: 'amd64', layers }];
  const [image] = hub.shelf.addImage({ repository: REPOSITORY, platforms }).manifests;
  const layer = image?.layers[0];
  assert.ok(layer);
  const name = layer.digest;
  hub.fault({ on: { kind: 'blob', name }, fault, ...(times !== undefined && { times }) });
  const scope = encodeURIComponent(`repository:${REPOSITORY}:pull`);
  const answer = await fetch(`${hub.tokenUrl}/token?scope=${scope}`);
  const { token }: { token: string } = JSON.parse(await answer.text());
  const headers = { authorization: `Bearer ${token}` };
  const url = `${hub.url}/v2/${REPOSITORY}/blobs/${name}`;
  return { hub, url, headers, size: layer.size };
}

/** Follows the registry's redirect, as it is. */
async function open({ url, headers }: Trial, range?: string): Promise<IncomingMessage> {
  const redirect = await fetch(url, { headers, redirect: 'manual' });
  const location = redirect.headers.get('location') ?? '';
  const asked = get(location, { agent: false, headers: range === undefined ? {} : { range } });
  asked.on('error', () => {});
  const [answer]: IncomingMessage[] = await once(asked, 'response');
  assert.ok(answer);
  return answer;
}

/** What came until the end, whichever it was. */
async function bytesOf(answer: IncomingMessage): Promise<{ bytes: Buffer; whole: boolean }> {
  const parts: Buffer[] = [];
  answer.on('data', (part: Buffer) => parts.push(part));
  answer.on('error', () => {});
  await new Promise((resolve) => answer.once('close', resolve));
  return { bytes: Buffer.concat(parts), whole: answer.complete };
}

for (const kind of ['truncated', 'reset'] as const) {
  test(`${kind}: so many bytes of the whole arrive, and after that a Range does`, async (t) => {
    const made = await trial(t, { kind, bytes: 30_000 }, 1);
    const answer = await open(made);
    assert.equal(answer.headers['content-length'], String(made.size));
    const { bytes, whole } = await bytesOf(answer);
    assert.equal(whole, false);
    if (kind === 'truncated') assert.equal(bytes.length, 30_000);
    const rest = await bytesOf(await open(made, 'bytes=30000-'));
    assert.deepEqual([rest.whole, rest.bytes.length], [true, made.size - 30_000]);
    assert.equal(Object.values(made.hub.report().blobs)[0]?.bytes, made.size);
  });
}

test('html: 200 and a page', async (t) => {
  const answer = await open(await trial(t, { kind: 'html' }));
  assert.deepEqual([answer.statusCode, answer.headers['content-type']], [200, 'text/html']);
  assert.match((await bytesOf(answer)).bytes.toString(), /^<!doctype html>/);
});

test('gzip: the bytes, compressed and so called', async (t) => {
  const made = await trial(t, { kind: 'gzip' });
  const answer = await open(made);
  assert.equal(answer.headers['content-encoding'], 'gzip');
  assert.equal(gunzipSync((await bytesOf(answer)).bytes).length, made.size);
});

test('length: a whole of another size', async (t) => {
  for (const by of [-1000, 1000]) {
    const made = await trial(t, { kind: 'length', by });
    const { bytes, whole } = await bytesOf(await open(made));
    assert.deepEqual([whole, bytes.length], [true, made.size + by]);
  }
});

test('whole: a Range is not heeded', async (t) => {
  const made = await trial(t, { kind: 'whole' });
  const answer = await open(made, 'bytes=5-9');
  assert.equal(answer.statusCode, 200);
  assert.equal((await bytesOf(answer)).bytes.length, made.size);
});

test('flip: one byte is another, wherever a Range begins', async (t) => {
  const made = await trial(t, { kind: 'flip', at: 60_000 });
  const whole = (await bytesOf(await open(made))).bytes;
  const part = (await bytesOf(await open(made, 'bytes=50000-'))).bytes;
  assert.ok(whole.subarray(50_000).equals(part));
  made.hub.fault();
  const right = (await bytesOf(await open(made))).bytes;
  const others = [...right].flatMap((byte, at) => (byte === whole[at] ? [] : [at]));
  assert.deepEqual(others, [60_000]);
});

test('slow: no faster than said', async (t) => {
  const made = await trial(t, { kind: 'slow', bytesPerSecond: 500_000 });
  const started = performance.now();
  const { bytes } = await bytesOf(await open(made));
  assert.equal(bytes.length, made.size);
  assert.ok(performance.now() - started > 100);
});

test('redirect: to a link-local address, or in circles', async (t) => {
  const to = 'http://169.254.169.254/latest/meta-data/';
  const away = await trial(t, { kind: 'redirect', to });
  const answer = await fetch(away.url, { headers: away.headers, redirect: 'manual' });
  assert.deepEqual([answer.status, answer.headers.get('location')], [307, to]);
  const round = await trial(t, { kind: 'redirect', to: 'self' });
  await assert.rejects(fetch(round.url, { headers: round.headers }), { message: 'fetch failed' });
  assert.ok(round.hub.report().requests > 10);
});

test('status: as often as asked for', async (t) => {
  const made = await trial(t, { kind: 'status', status: 503, headers: { 'retry-after': '7' } }, 2);
  const statuses: (number | undefined)[] = [];
  for (let n = 0; n < 3; n += 1) {
    const answer = await open(made);
    statuses.push(answer.statusCode);
    await bytesOf(answer);
  }
  assert.deepEqual(statuses, [503, 503, 200]);
});
