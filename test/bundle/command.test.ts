// What the command line says of a bundle when something is not there.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { importImages, tellKey, verifyImages } from '../../bin/bundle.ts';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { exportTo, scratch } from './bundle-rig.ts';

const env = { FLOTILLA_ACCESS_ADMIN_PASSWORD: ADMIN.password };
const silent = { env, tell: () => {} };

test('a key file that is not there is told with its option, and how one is made', async (t) => {
  const folder = await scratch(t);
  const [from, missing] = [path.join(folder, 'bundle.tar'), path.join(folder, 'exporter.key')];
  const advice = 'name the file that "flotilla bundle key" wrote at the exporter';
  const told = (option: string, file: string, why: string) => ({
    code: 'KEY_FILE_INVALID',
    message: `the key of an exporter cannot be read, ${file} of ${option}: ${why}; ${advice}`,
  });
  const gone = told('--trust', missing, 'there is no such file');
  await assert.rejects(verifyImages({ from, trust: [missing] }, silent), gone);
  const wish = { from, to: undefined, url: 'http://127.0.0.1:9' };
  await assert.rejects(importImages({ ...wish, trust: [missing] }, silent), gone);
  await mkdir(missing);
  const isFolder = told('--trust', missing, 'it is a folder');
  await assert.rejects(verifyImages({ from, trust: [missing] }, silent), isFolder);
  const text = JSON.stringify({ bundles: { trustedKeys: [path.join(folder, 'other')] } });
  const configured = told(
    'bundles.trustedKeys[0]',
    path.join(folder, 'other'),
    'there is no such file',
  );
  await assert.rejects(importImages({ ...wish, text, trust: [] }, silent), configured);
});

test('an import hears that its hub is away, and goes on when it comes back', async (t) => {
  const folder = await scratch(t);
  const [from, key] = [path.join(folder, 'bundle.tar'), path.join(folder, 'exporter.key')];
  await using exporter = await TestHub.start();
  await exporter.pushImage('v1', [Buffer.from('a layer')]);
  await exportTo(exporter, from, ['team/app:v1']);
  await writeFile(key, await tellKey({ change: undefined, url: exporter.url }, silent));
  await using hub = await TestHub.start();
  const told: string[] = [];
  const front = createServer((socket) => {
    if (told.length === 0) {
      socket.destroy();
      return;
    }
    const inner = connect(Number(new URL(hub.url).port), '127.0.0.1');
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      one.on('error', () => other.destroy()).pipe(other);
    }
  });
  front.listen(0, '127.0.0.1');
  t.after(() => front.close());
  await once(front, 'listening');
  const address = front.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const tell = (line: string): void => void told.push(line);
  const report = await importImages({ from, to: undefined, trust: [key], url }, { env, tell });
  assert.match(report, /^team\/app:v1$/m);
  const why = `no answer from the hub at ${url}; see that it runs and is trusted here`;
  const until = 'trying 7 more times, with pauses of 1m31s in all at most';
  const [line = ''] = told;
  assert.ok(line.startsWith(why) && line.endsWith(until), line);
});
