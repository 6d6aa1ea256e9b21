import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { request } from 'undici';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseDemoOptions, UsageError } from './options.ts';

const MAIN = path.join(import.meta.dirname, 'main.ts');
const FIGURES = [
  'agents',
  'imageBytes',
  'hubBytes',
  'peerBytes',
  'copies',
  'chunksVerified',
  'chunksRejected',
  'seconds',
];

let folder = '';
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-test-demo-'));
});
after(() => rmSync(folder, { recursive: true }));

type Demo = {
  child: ChildProcessByStdio<null, Readable, null>;
  /** Resolves with all output so far when it contains `text`. */
  said: (text: string) => Promise<string>;
};

function demo(...args: string[]): Demo {
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn(process.execPath, [MAIN, '--agents', '2', '--size', '8MiB', ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  const said = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (out.includes(text)) resolve(out);
      };
      child.stdout.on('data', look);
      child.stdout.once('end', () => reject(new Error(`never said "${text}": ${out}`)));
    });
  child.stdout.on('data', (part: Buffer) => (out += part.toString()));
  return { child, said };
}

/** Processes of this machine that work in the folder of this test. */
function leftOver(): string[] {
  if (!existsSync('/proc/self/cmdline')) return [];
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const words = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
      return words.includes(folder) ? [words] : [];
    } catch {
      return [];
    }
  });
}

test('it measures, serves what it says, and Ctrl-C ends it with nothing left', async () => {
  const json = path.join(folder, 'figures.json');
  const { child, said } = demo('--json', json);
  const out = await said('Ctrl-C ends it');
  const figures: Record<string, number> = JSON.parse(readFileSync(json, 'utf8'));
  assert.deepEqual(Object.keys(figures), FIGURES);
  assert.equal(figures['agents'], 2);
  assert.equal(figures['chunksRejected'], 0);
  assert.ok((figures['peerBytes'] ?? 0) > 0 && (figures['copies'] ?? 0) < 2, out);
  const url = /curl (http:\S+)/.exec(out)?.[1] ?? '';
  const { statusCode, headers, body } = await request(url);
  await body.dump();
  assert.deepEqual([statusCode, headers['content-type']], [200, OCI_MANIFEST]);
  child.kill('SIGINT');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.deepEqual(leftOver(), []);
  rmSync(json);
  assert.deepEqual(readdirSync(folder), []);
});

test('Ctrl-C in the middle stops it with its exit code and nothing left', async () => {
  for (const moment of ['Starting', 'Pulling']) {
    const { child, said } = demo();
    await said(moment);
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'exit'), [130, null], moment);
    assert.deepEqual(leftOver(), []);
    assert.deepEqual(readdirSync(folder), []);
  }
});

test('what cannot be done is said before anything is started', () => {
  const lines = [
    ['--sizes', '5'],
    ['--size'],
    ['--size', 'banana'],
    ['--size', '0'],
    ['--agents', '0'],
    ['--agents', '1.5'],
    ['--agents', '999'],
    ['one'],
    ['--image', 'Bad Ref!!'],
    ['--image', 'alpine', '--size', '5MiB'],
    ['--json', path.join(folder, 'nowhere', 'x.json')],
  ];
  for (const line of lines) {
    assert.throws(() => parseDemoOptions(line), UsageError, line.join(' '));
  }
  assert.equal(parseDemoOptions(['-h']), 'help');
  assert.deepEqual(parseDemoOptions([]), {
    agents: 4,
    sizeBytes: 512 * 1024 ** 2,
    image: undefined,
    once: false,
    json: undefined,
  });
});
