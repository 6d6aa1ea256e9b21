import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Type } from 'typebox';
import { runCli } from './cli.ts';
import type { JoinTokenWish, ProgramEntry, ProgramKind } from './cli.ts';
import { Duration, loadConfig } from './config.ts';

const schema = Type.Object({
  http: Type.Object({
    bodyTimeout: Duration({ default: '20s', description: 'Idle limit of a body.' }),
  }),
});

type Outcome = {
  code: number;
  out: string;
  err: string;
  started: { kind: string; text?: string }[];
  tokens: JoinTokenWish[];
};

async function cli(...argv: string[]): Promise<Outcome> {
  const outcome: Outcome = { code: -1, out: '', err: '', started: [], tokens: [] };
  const entry = (kind: ProgramKind): ProgramEntry => ({
    schema: async () => schema,
    check: async (input) => void loadConfig(schema, { ...input, env: {}, kind }),
    run: async ({ text }) => {
      outcome.started.push({ kind, ...(text === undefined ? {} : { text }) });
      return 0;
    },
  });
  outcome.code = await runCli(argv, {
    out: (text) => void (outcome.out += text),
    err: (text) => void (outcome.err += text),
    env: {},
    programs: { hub: entry('hub'), agent: entry('agent') },
    admin: {
      ask: async () => assert.fail('no hub is asked'),
      readPassword: async () => assert.fail('no password is read'),
      newPassword: () => 'made',
    },
    checkHub: async ({ hash }) => ({ text: `hash ${hash}\n`, clean: !hash }),
    backup: {
      create: async (wish) => ({ text: JSON.stringify(wish), clean: true }),
      verify: async ({ quick }) => ({ text: 'damaged', clean: quick }),
      restore: async (wish) => ({ text: JSON.stringify(wish), clean: true }),
    },
    purge: async ({ lift, waitMs }) => ({
      unreached: lift || waitMs === 600_000 ? [] : ['node-7'],
      known: true,
    }),
    bundle: {
      export: async (wish) => JSON.stringify(wish),
      import: async (wish) => JSON.stringify(wish),
      verify: async (wish) => JSON.stringify(wish),
      key: async (wish) => JSON.stringify(wish),
    },
    createJoinToken: async (request) => {
      outcome.tokens.push(request);
      return 'flotilla-join.v1.example';
    },
  });
  return outcome;
}

async function withFile(text: string, use: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-cli-'));
  const file = path.join(folder, 'config.yaml');
  writeFileSync(file, text);
  try {
    await use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('--help is there at every level and exits 0', async () => {
  for (const words of [
    '',
    'hub',
    'agent',
    'config',
    'version',
    'hub join-token',
    'hub check',
    'purge',
    'backup',
    'backup create',
    'backup restore',
    'bundle',
    'bundle export',
    'bundle import',
    'bundle verify',
    'bundle key',
  ]) {
    const argv = [...words.split(' ').filter((word) => word !== ''), '--help'];
    const { code, out, started } = await cli(...argv);
    assert.equal(code, 0, words);
    assert.match(out, /^usage: flotilla/, words);
    assert.deepEqual(started, []);
  }
});

test('the usage of hub check has every option it describes', async () => {
  const { out } = await cli('hub', 'check', '--help');
  const [usage = '', ...rest] = out.split('\n\n');
  const described = rest.join('\n').match(/^ {2}--[a-z]+/gm) ?? [];
  assert.ok(described.length > 0);
  for (const option of described) assert.ok(usage.includes(`[${option.trim()}]`), option);
});

test('a command line that is not understood exits 2 and says what is', async () => {
  const lines = [
    [],
    ['hbu'],
    ['hub', '--confg', 'x'],
    ['agent', 'x'],
    ['config', 'show'],
    ['config'],
  ];
  for (const argv of [
    ...lines,
    ['version', '--kind'],
    ['hub', 'join-token'],
    ['config', 'check'],
  ]) {
    const { code, err, out } = await cli(...argv);
    assert.equal(code, 2, argv.join(' '));
    assert.match(err, /usage: flotilla/, argv.join(' '));
    assert.equal(out, '');
  }
  assert.match((await cli('hbu')).err, /did you mean hub\?/);
  assert.match((await cli('hub', '--confg', 'x')).err, /^flotilla: .*did you mean --config\?$/m);
  for (const wish of [
    ['--uses', '0'],
    ['--expires', '5x'],
  ]) {
    assert.equal((await cli('hub', 'join-token', 'create', ...wish)).code, 2, wish.join(' '));
  }
});

test('an address of a hub without its scheme is refused before any hub is asked', async () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const words of [
    ['account', 'list'],
    ['gc', 'status'],
    ['purge', digest],
    ['hub', 'join-token', 'create'],
    ['backup', 'create', '--to', 'folder'],
  ]) {
    for (const url of ['hub.example:7400', '127.0.0.1:7400', 'http://', 'ftp://hub.example']) {
      const { code, err, out } = await cli(...words, '--url', url);
      assert.deepEqual([code, out], [2, ''], `${words.join(' ')} --url ${url}`);
      assert.ok(err.startsWith('flotilla: --url takes http:// or https://'), err);
      assert.ok(err.includes(`not "${url}"`) && err.includes('usage: flotilla'), err);
    }
  }
  const url = 'http://127.0.0.1:7400';
  const made = await cli('hub', 'join-token', 'create', '--url', url);
  assert.deepEqual([made.code, made.tokens[0]?.url], [0, url]);
});

test('a program gets the text of its file', async () => {
  await withFile('http: {}\n', async (file) => {
    const { code, started } = await cli('agent', '--config', file);
    assert.equal(code, 0);
    assert.deepEqual(started, [{ kind: 'agent', text: 'http: {}\n' }]);
  });
  assert.deepEqual((await cli('hub')).started, [{ kind: 'hub' }]);
});

test('a file that is not there or not valid exits 78 with its name', async () => {
  const missing = await cli('hub', '--config', '/nonexistent/hub.yaml');
  assert.equal(missing.code, 78);
  assert.match(missing.err, /\/nonexistent\/hub\.yaml/);
  await withFile('kind: hub\nhttp:\n  bodyTimout: 5s\n', async (file) => {
    const { code, err } = await cli('config', 'check', file);
    assert.equal(code, 78);
    assert.match(err, /:3: http\.bodyTimout: unknown key; did you mean http\.bodyTimeout\?/);
  });
});

test('check takes the kind from the file or the option', async () => {
  await withFile('kind: agent\n', async (file) => {
    assert.match((await cli('config', 'check', file)).out, /valid for the agent/);
    assert.equal((await cli('config', 'check', file, '--kind', 'hub')).code, 78);
  });
  await withFile('http: {}\n', async (file) => {
    assert.equal((await cli('config', 'check', file)).code, 2);
    assert.equal((await cli('config', 'check', file, '--kind', 'hub')).code, 0);
  });
});

test('show prints key, type, default, variable and meaning', async () => {
  const { out } = await cli('config', 'show', '--kind', 'hub');
  assert.match(out, /^http\.bodyTimeout\n +duration, default 20s\n +FLOTILLA_HTTP_BODY_TIMEOUT\n/);
  assert.match(out, /Idle limit of a body\./);
});

test('version is a line, or JSON for programs', async () => {
  assert.match((await cli('version')).out, /^flotilla \d+\.\d+\.\d+ \(\w+\), node \d+/);
  const build: { version: string } = JSON.parse((await cli('version', '--json')).out);
  assert.match(build.version, /^\d+\.\d+\.\d+$/);
});

test('a join token is asked for with uses and expiry and printed alone', async () => {
  const { out, tokens } = await cli('hub', 'join-token', 'create', '--uses', '50');
  assert.equal(out, 'flotilla-join.v1.example\n');
  assert.deepEqual(tokens, [{ uses: 50, expires: undefined, url: undefined }]);
});

test('hub check prints its report and says in the exit code if something is wrong', async () => {
  const clean = await cli('hub', 'check');
  assert.deepEqual([clean.code, clean.out], [0, 'hash false\n']);
  const wrong = await cli('hub', 'check', '--hash');
  assert.deepEqual([wrong.code, wrong.out], [1, 'hash true\n']);
  assert.equal((await cli('hub', 'check', 'extra')).code, 2);
});

test('purge names the nodes that were not reached', async () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const down = await cli('purge', digest);
  assert.deepEqual([down.code, down.out], [1, `not reached: node-7\n${digest}: taken down\n`]);
  assert.equal((await cli('purge', digest, '--lift')).code, 0);
  assert.equal((await cli('purge', digest, '--wait', '10m')).code, 0);
  assert.equal((await cli('purge', digest, '--wait', '0s')).code, 1);
  assert.equal((await cli('purge', digest, '--wait', 'long')).code, 2);
  assert.equal((await cli('purge', 'latest')).code, 2);
});

test('bundle takes what it needs, and refuses what it does not understand', async () => {
  const platforms = ['--platform', 'linux/amd64', '--platform', 'linux/arm64'];
  const made = await cli('bundle', 'export', '--out', 'x.tar', ...platforms, 'team/app:v1');
  assert.deepEqual(JSON.parse(made.out), {
    out: 'x.tar',
    platforms: ['linux/amd64', 'linux/arm64'],
    images: ['team/app:v1'],
  });
  const read = await cli('bundle', 'import', 'x.tar', '--to', 'edge', '--trust', 'a.key');
  assert.deepEqual(JSON.parse(read.out), { from: 'x.tar', to: 'edge', trust: ['a.key'] });
  const revoked = await cli('bundle', 'key', '--revoke');
  assert.deepEqual(JSON.parse(revoked.out), { change: 'revoke' });
  for (const words of [
    [],
    ['exports'],
    ['export', 'team/app:v1'],
    ['export', '--out', 'x.tar'],
    ['import'],
    ['import', 'a.tar', 'b.tar'],
    ['verify', 'a.tar', '--to', 'edge'],
    ['key', '--rotate', '--revoke'],
    ['key', 'x'],
  ]) {
    assert.equal((await cli('bundle', ...words)).code, 2, words.join(' '));
  }
});

test('backup takes what it needs, and says in the exit code if something is wrong', async () => {
  const made = await cli('backup', 'create', '--to', 'folder', '--incremental');
  const { to, incremental, catalogOnly } = JSON.parse(made.out);
  assert.deepEqual([made.code, to, incremental, catalogOnly], [0, 'folder', true, false]);
  assert.equal((await cli('backup', 'verify', 'folder')).code, 1);
  assert.equal((await cli('backup', 'verify', 'folder', '--quick')).code, 0);
  const restored = await cli('backup', 'restore', 'folder', '--data-dir', 'data', '--keep-rights');
  const { folder, dataDir, keepRights } = JSON.parse(restored.out);
  assert.deepEqual([folder, dataDir, keepRights], ['folder', 'data', true]);
  for (const words of [
    [],
    ['make'],
    ['create'],
    ['create', 'folder'],
    ['verify'],
    ['restore'],
    ['restore', 'a', '--keep-rights', '--rights-from', 'b'],
    ['restore', 'a', '--keys', 'b', '--new-keys'],
  ]) {
    assert.equal((await cli('backup', ...words)).code, 2, words.join(' '));
  }
});
