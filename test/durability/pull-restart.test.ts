import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { request } from 'undici';
import { bytesOf, Origin, sendSome } from '../../hub/upstream/pull-fixture.ts';
import { AUTHORIZATION, startHubProcess } from './hub-process.ts';

const MIB = 1024 * 1024;
const SENT = 70 * MIB;
const PARKED_AT_LEAST = 48 * MIB;

test('a blob of an upstream goes on by Range after the hub was killed', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-pull-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const origin = await Origin.start(t);
  const bytes = bytesOf(90 * MIB + 1);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, SENT);
    return true;
  };
  const upstreams = [{ name: 'docker.io', url: origin.url, provisional: 'readers' }];
  const dataDir = path.join(folder, 'hub');
  const start = () => startHubProcess(folder, dataDir, { upstreams });
  const ask = (url: string, range: string) =>
    request(new URL(`/v2/docker.io/library/app/blobs/${digest}`, url), {
      headers: { authorization: AUTHORIZATION, range },
    });
  const first = await start();
  t.after(() => first.running.stop());
  const part = await ask(first.url, `bytes=0-${SENT - 1}`);
  assert.ok(Buffer.from(await part.body.arrayBuffer()).equals(bytes.subarray(0, SENT)));
  first.running.kill('SIGKILL');
  await first.running.stop();
  origin.blobFault = undefined;
  const second = await start();
  t.after(() => second.running.stop());
  const whole = await ask(second.url, 'bytes=0-');
  assert.ok(Buffer.from(await whole.body.arrayBuffer()).equals(bytes));
  const [, again] = origin.asked.filter(({ method }) => method === 'GET');
  const from = Number(/^bytes=(\d+)-$/.exec(again?.range ?? '')?.[1]);
  assert.ok(from >= PARKED_AT_LEAST, `it went on at byte ${from}`);
});
