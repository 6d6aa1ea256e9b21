import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { EXIT } from '../../proto/ops/exit-codes.ts';
import { commandAt, type Outcome } from '../rig/command-line.ts';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { ADMIN, type TestHub } from '../registry/test-hub.ts';
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
