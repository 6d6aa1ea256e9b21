import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get as httpGet } from 'node:http';
import { test } from 'node:test';
import { request } from 'undici';
import type { CallOptions } from '../fetch/ports.ts';
import { MANIFEST_TYPE, manifestOf, patternBytes } from './fixture-images.ts';
import { startTestMirror } from './fixture.ts';

const LARGE = patternBytes(5 * 1024 * 1024);
const GOOD = { authorization: 'Bearer good' };

async function answered(url: string, headers: Record<string, string>): Promise<string> {
  const response = await request(url, { headers });
  return `${response.statusCode} ${await response.body.text()}`;
}

async function* standStill(_range: unknown, o: CallOptions): AsyncGenerator<Buffer> {
  await new Promise((_resolve, reject) => {
    o.signal?.addEventListener('abort', () => reject(new Error('aborted')));
  });
  yield Buffer.alloc(0);
}

test('that a blob stalls here is told to none but those who may have it', async () => {
  await using on = await startTestMirror({ bodyStallTimeout: 100, headersTimeout: 2_000 });
  const digest = on.content.put(LARGE);
  on.upstream.putManifest('library/app', 'v1', manifestOf([LARGE]), MANIFEST_TYPE);
  on.upstream.blobs.set(`library/app@${digest}`, LARGE.length);
  const challenge = 'Bearer realm="https://up.example/token"';
  Object.assign(on.upstream, { challenge, accepts: GOOD.authorization });
  const base = `${on.url}/v2/docker.io/app`;
  const url = `${base}/blobs/${digest}`;
  const strangers = [{}, { authorization: 'Bearer other' }];
  const before = await Promise.all(strangers.map((headers) => answered(url, headers)));
  assert.match(String(before[0]), /^401 /);
  on.content.read = () => standStill;
  const sending = httpGet(url, { headers: GOOD });
  sending.on('error', () => {});
  await once(sending, 'close');
  assert.match(await answered(url, GOOD), /^404 /, 'it stalls for who may have it');
  const after = await Promise.all(strangers.map((headers) => answered(url, headers)));
  assert.deepEqual(after, before);
});
