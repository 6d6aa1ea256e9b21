import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { EXIT } from '../../proto/ops/exit-codes.ts';
import { commandAt, type Outcome } from '../rig/command-line.ts';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { ADMIN, type TestHub } from '../registry/test-hub.ts';
import { imageOf, ownRegistry, sendManifest } from './own-registry.ts';
import { replicationRig, someBytes } from './rig.ts';

function flotilla({ url }: TestHub, ...words: string[]): Promise<Outcome> {
  return commandAt({ url, password: ADMIN.password }, ['replication', ...words]);
}

const RULE = `
name: nightly
settings:
  direction: pull
  registry: other
  repositories: [team/*]
  tags:
    globs: [v*]
  schedule: 0 3 * * *
`;

test(
  'a rule is made from a file, run, watched and ended',
  {
    skip: missingDockerRegistry(),
  },
  async (t) => {
    const { hub, there } = await replicationRig(t);
    await there.image('team/app', 'v1', [someBytes(1000)]);
    const done = async (...words: string[]): Promise<string> => {
      const { code, out, err } = await flotilla(hub, ...words);
      assert.deepEqual({ code, err }, { code: EXIT.ok, err: '' }, words.join(' '));
      return out;
    };
    const file = path.join(hub.folder, 'rule.yaml');
    await writeFile(file, RULE);
    assert.equal(await done('registries'), `other\t${there.url}\n`);
    await done('create', file);
    assert.match(await done('rules'), /^nightly\ton\tpull\tother\tteam\/\*\t\d{4}-\d\d-\d\dT03:00/);
    assert.match(await done('show', 'nightly'), /"schedule": "0 3 \* \* \*"/);
    const ran = await done('run', 'nightly', '--wait');
    assert.match(ran, /^artifacts: 1 copied$/m);
    const [, id = ''] = /^execution (\w+) of nightly: done$/m.exec(ran) ?? [];
    assert.match(
      await done('list', '--rule', 'nightly'),
      new RegExp(`^${id}\tnightly\tmanual\tdone`),
    );
    assert.match(await done('status', id), /^ended: 2/m);
    const artifact = /^team\/app\tv1\tteam\/app\tcopied\t/;
    assert.match(await done('artifacts', id), artifact);
    assert.equal(await done('artifacts', id, '--state', 'failed'), '');
    assert.equal(await done('stop', id), 'ended\n');
    await done('disable', 'nightly');
    assert.match(await done('rules'), /^nightly\toff\t.*\t-$/m);
    await writeFile(file, RULE.replace('team/*', 'gone/**'));
    await done('change', file);
    assert.match(await done('rules'), /gone\/\*\*/);
    await done('delete', 'nightly');
    assert.equal(await done('rules'), '');
  },
);

test('an execution that fails says why, with exit code 1', async (t) => {
  const { hub, rule } = await replicationRig(t, { url: 'http://127.0.0.1:9' });
  await rule('out', { direction: 'push', repositories: ['none/*'] });
  assert.equal((await flotilla(hub, 'run', 'out', '--wait')).code, EXIT.ok, 'nothing to copy');
  const unknown = await flotilla(hub, 'run', 'nothing');
  assert.equal(unknown.code, EXIT.failure);
  assert.match(unknown.err, /no rule nothing/);
  assert.equal((await flotilla(hub, 'show')).code, EXIT.usage);
  assert.match((await flotilla(hub, 'show')).err, /show takes RULE behind it/);
  assert.match((await flotilla(hub, 'rules', '--wait')).err, /rules takes no --wait/);
  assert.match((await flotilla(hub, 'walk')).err, /unknown command "walk"/);
});

test('who waits for an execution that is tried again hears why', async (t) => {
  let isHeard = false;
  const url = await ownRegistry(t, (target, response) => {
    if (target.includes('/tags/list')) return void response.end('{"tags":["v1"]}');
    if (target.includes('/blobs/')) return void response.end('{}');
    if (isHeard) return sendManifest(response, imageOf([]));
    response.statusCode = 425;
    response.end();
  });
  const { hub, rule } = await replicationRig(t, { url });
  const settings = { direction: 'pull', repositories: ['team/app'], referrers: false };
  await rule('in', { ...settings, attempts: 1 });
  const at = { url: hub.url, password: ADMIN.password };
  const words = ['replication', 'run', 'in', '--wait', '--json'];
  const heard = (): void => void (isHeard = true);
  const { code, out, err } = await commandAt(at, words, { heard });
  assert.equal(code, EXIT.ok, out);
  assert.match(out, /^\{[^\n]*"state":"done"[^\n]*\}\n$/);
  assert.match(err, /^execution \w+: attempt 1 failed: .*team\/app:v1: .*; the next [^\n]*\n$/);
});

test('a misspelt setting of a rule or of a policy is told by its name', async (t) => {
  const { hub } = await replicationRig(t, { url: 'http://127.0.0.1:9' });
  const file = path.join(hub.folder, 'rule.yaml');
  await writeFile(file, RULE.replace('schedule', 'shedule'));
  const refused = await flotilla(hub, 'create', file);
  assert.equal(refused.code, EXIT.failure);
  assert.match(refused.err, /\/settings: unknown field "shedule"; there are .*schedule/);
  await writeFile(file, 'name: fleet\nrepository: team/app\ntag: v*\nonpush: true\n');
  const at = { url: hub.url, password: ADMIN.password };
  const { err } = await commandAt(at, ['prefetch', 'put', file]);
  assert.match(err, /body: unknown field "onpush"; there are repository, tag, onPush/);
});

test('the rule on the page of help is taken as it stands there', async (t) => {
  const { hub } = await replicationRig(t, { url: 'http://127.0.0.1:9' });
  const { out } = await flotilla(hub, '--help');
  const [rule = ''] = /^ {2}name: nightly\n(?: {2}.*\n)+/m.exec(out) ?? [];
  const file = path.join(hub.folder, 'nightly.yaml');
  await writeFile(file, rule);
  const { code, err } = await flotilla(hub, 'create', file);
  assert.deepEqual({ code, err }, { code: EXIT.ok, err: '' });
  assert.match((await flotilla(hub, 'show', 'nightly')).out, /"schedule": "0 3 \* \* \*"/);
});
