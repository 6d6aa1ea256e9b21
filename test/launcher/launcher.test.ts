import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const CONTAINERFILE = path.join(import.meta.dirname, '../../daemonset/Containerfile');
const MAIN = path.join(import.meta.dirname, '..', '..', 'bin', 'main.ts');

let folder = '';
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-launcher-'));
});
after(() => rmSync(folder, { recursive: true }));

/** A stand-in for node that tells a version, and otherwise its process id and arguments. */
function fakeNode(version: string): string {
  const file = path.join(folder, `node-${version}`);
  const script = `#!/bin/sh
if [ "$1" = --version ]; then echo ${version}; exit 0; fi
echo "$$"
for word in "$@"; do echo "$word"; done
`;
  writeFileSync(file, script, { mode: 0o755 });
  return file;
}

function launch(node: string, args: readonly string[], program = LAUNCHER) {
  const env = { ...process.env, FLOTILLA_NODE: node, SSL_CERT_DIR: folder };
  return spawnSync(program, args, { encoding: 'utf8', env });
}

test('a Node.js that is too old or missing is one clear sentence and exit code 69', () => {
  for (const version of ['v20.20.2', 'v24.14.9', 'v8.0.0']) {
    const { status, stderr, stdout } = launch(fakeNode(version), ['version']);
    assert.equal(status, 69, version);
    assert.equal(stderr.trim().split('\n').length, 1);
    assert.match(stderr, /is too old; install 24\.15 or later/);
    assert.ok(stderr.includes(version));
    assert.equal(stdout, '');
  }
  const other = launch('/bin/true', ['version']);
  assert.equal(other.status, 69);
  assert.equal(other.stderr.trim().split('\n').length, 1);
  assert.match(other.stderr, /'\/bin\/true' is no Node\.js/);
  const missing = launch(path.join(folder, 'nothing-here'), ['version']);
  assert.equal(missing.status, 69);
  assert.match(missing.stderr, /no Node\.js found as .*nothing-here/);
});

test('a new enough Node.js gets the flags and the untouched arguments', () => {
  for (const version of ['v24.15.0', 'v24.21.0', 'v26.0.0']) {
    const { status, stdout } = launch(fakeNode(version), ['hub', '--config', 'a b', '']);
    assert.equal(status, 0, version);
    const [, ...words] = stdout.replace(/\n$/, '').split('\n');
    assert.deepEqual(words.slice(-5), [MAIN, 'hub', '--config', 'a b', '']);
    assert.ok(words.includes('--external-memory-accounted-in-global-limit'));
    assert.ok(words.includes('--use-system-ca'));
    assert.ok(words.some((word) => /^--initial-old-space-size=\d+$/.test(word)));
  }
});

test('the image has code compiled for the flags that each program gets', () => {
  const image = readFileSync(CONTAINERFILE, 'utf8');
  const common = /node \\\n(.*) "\$@"/.exec(image)?.[1] ?? '';
  for (const program of ['hub', 'agent']) {
    const own = new RegExp(`^ +compile ${program} (.*?)( &&|$)`, 'm').exec(image)?.[1] ?? '';
    const compiled = `${common} ${own}`.trim().split(/\s+/).toSorted();
    const { stdout } = launch(fakeNode('v24.15.0'), [program]);
    const words = stdout.split('\n').filter((word) => word.startsWith('--'));
    const ofV8 = words.filter((word) => word !== '--use-system-ca').toSorted();
    assert.deepEqual(compiled, ofV8, program);
  }
});

test('a variable of its own that is no number is refused like any configuration', () => {
  const env = { ...process.env, FLOTILLA_NODE: fakeNode('v24.15.0'), FLOTILLA_OLD_SPACE_MIB: '1G' };
  const { status, stderr } = spawnSync(LAUNCHER, ['version'], { encoding: 'utf8', env });
  assert.equal(status, 78);
  assert.match(stderr, /FLOTILLA_OLD_SPACE_MIB is '1G'/);
});

test('what is said to the launcher is no configuration of the program', () => {
  const config = path.join(folder, 'agent.yaml');
  writeFileSync(config, 'swarm: { uploads: 0 }\n', { mode: 0o600 });
  const own = { FLOTILLA_NODE: process.execPath, FLOTILLA_OLD_SPACE_MIB: '64' };
  const env = { ...process.env, ...own };
  const agent = ['agent', '--config', config];
  const { stderr } = spawnSync(LAUNCHER, agent, { encoding: 'utf8', env });
  assert.match(stderr, /swarm\.uploads/, 'the configuration is looked at');
  assert.doesNotMatch(stderr, /FLOTILLA_NODE|FLOTILLA_OLD_SPACE_MIB/);
});

test('the launcher becomes node: same process id, so signals reach the program', async () => {
  const env = { ...process.env, FLOTILLA_NODE: fakeNode('v24.15.0') };
  const child = spawn(LAUNCHER, ['version'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (part: Buffer) => (out += part.toString()));
  await once(child, 'close');
  assert.equal(Number(out.split('\n')[0]), child.pid);
});

test('it finds its folder through relative and absolute links, whatever the working folder', () => {
  const deep = path.join(folder, 'with space', 'deep');
  mkdirSync(deep, { recursive: true });
  symlinkSync(path.relative(deep, LAUNCHER), path.join(deep, 'first'));
  symlinkSync(path.join(deep, 'first'), path.join(folder, 'second'));
  const { stdout } = launch(fakeNode('v24.15.0'), [], path.join(folder, 'second'));
  assert.ok(stdout.split('\n').includes(MAIN), stdout);
  const shell = spawnSync('sh', ['-c', 'cd "$1/.." && sh bin/flotilla', 'sh', path.dirname(MAIN)], {
    encoding: 'utf8',
    env: { ...process.env, FLOTILLA_NODE: fakeNode('v24.15.0') },
  });
  assert.ok(shell.stdout.split('\n').includes(MAIN), shell.stderr);
});

test('a reader that hangs up does not change how a command ends', async () => {
  for (const [words, code] of [
    [['config', 'show', '--kind', 'hub'], 0],
    [['nonsense'], 2],
  ] as const) {
    const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    const told: Buffer[] = [];
    const [silent, heard] =
      code === 0 ? [child.stdout, child.stderr] : [child.stderr, child.stdout];
    silent.destroy();
    heard.on('data', (part: Buffer) => told.push(part));
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const [ended] = await once(child, 'close');
    assert.deepEqual([ended, Buffer.concat(told).toString()], [code, ''], words.join(' '));
  }
});
