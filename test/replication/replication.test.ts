import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { replicationRig, someBytes, statesOf } from './rig.ts';

const skip = missingDockerRegistry();
const SBOM = 'application/spdx+json';

test('a pull copies what is missing, and the next time nothing', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const base = someBytes(100_000);
  const app = await there.image('team/app', 'v1', [base, someBytes(50_000)]);
  const tool = await there.image('team/tool', 'v1', [base]);
  await there.image('other/thing', 'v1', [someBytes(10)]);
  await rule('in', { direction: 'pull', repositories: ['team/**'], namespace: 'copies' });
  const first = await run('in');
  assert.equal(first.state, 'done', first.message);
  assert.deepEqual(statesOf(first), ['team/app:v1 copied', 'team/tool:v1 copied']);
  assert.equal(await here.tagged('copies/team/app', 'v1'), app.digest);
  assert.equal(await here.tagged('copies/team/tool', 'v1'), tool.digest);
  assert.equal(await here.tagged('copies/other/thing', 'v1'), undefined);
  const bytes = first.artifacts.reduce((sum, { counts }) => sum + counts.bytes, 0);
  assert.ok(bytes < 160_000, `a layer in two repositories is fetched once, not in ${bytes} bytes`);
  const second = await run('in');
  assert.deepEqual(statesOf(second), ['team/app:v1 present', 'team/tool:v1 present']);
  assert.equal(second.counts.bytes, 0);
});

test('a push copies what is missing, mounts what it can', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const base = someBytes(100_000);
  const app = await here.image('team/app', 'v1', [base]);
  const tool = await here.image('team/deep/tool', 'v2', [base]);
  await rule('out', { direction: 'push', repositories: ['**'], dropSegments: -1 });
  const first = await run('out');
  assert.equal(first.state, 'done', first.message);
  assert.equal(await there.tagged('app', 'v1'), app.digest);
  assert.equal(await there.tagged('tool', 'v2'), tool.digest);
  const mounted = first.artifacts.reduce((sum, { counts }) => sum + counts.mounted, 0);
  assert.ok(mounted >= 1, 'the layer that both have');
  assert.equal((await run('out')).counts.present, 2);
});

test('referrers travel with their subject, also those of referrers', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const app = await here.image('team/app', 'v1', [someBytes(1000)]);
  const subject = { mediaType: OCI_MANIFEST, digest: app.digest, size: app.bytes.length };
  const sbom = await here.image('team/app', undefined, [someBytes(100)], {
    subject,
    artifactType: SBOM,
  });
  const about = { mediaType: OCI_MANIFEST, digest: sbom.digest, size: sbom.bytes.length };
  const signature = await here.image('team/app', undefined, [], { subject: about });
  const tag = `sha256-${app.digest.slice(7)}.sig`;
  const cosign = await here.image('team/app', tag, [someBytes(9)]);
  await rule('out', { direction: 'push', repositories: ['team/app'], tags: { globs: ['v*'] } });
  const out = await run('out');
  assert.deepEqual(statesOf(out), ['team/app:v1 copied']);
  assert.deepEqual(await there.referrers('team/app', app.digest), [sbom.digest]);
  assert.deepEqual(await there.referrers('team/app', sbom.digest), [signature.digest]);
  assert.equal(await there.tagged('team/app', tag), cosign.digest);
  // And back, where the list is only a tag at the source.
  await rule('in', { direction: 'pull', repositories: ['team/app'], namespace: 'back' });
  assert.deepEqual(statesOf(await run('in')), ['team/app:v1 copied']);
  assert.deepEqual(await here.referrers('back/team/app', app.digest), [sbom.digest]);
  assert.deepEqual(await here.referrers('back/team/app', sbom.digest), [signature.digest]);
  assert.equal(await here.tagged('back/team/app', tag), cosign.digest);
  assert.equal((await run('in')).counts.present, 1);
});

test('a referrer that was there before its subject led to it is listed', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const app = await here.image('team/app', 'v1', [someBytes(1000)]);
  const subject = { mediaType: OCI_MANIFEST, digest: app.digest, size: app.bytes.length };
  const sbom = await here.image('team/app', undefined, [], { subject, artifactType: SBOM });
  // As whoever was killed between the two leaves it.
  await there.image('team/app', undefined, [], { subject, artifactType: SBOM });
  assert.equal(await there.tagged('team/app', sbom.digest), sbom.digest);
  await rule('out', { direction: 'push', repositories: ['team/app'] });
  await run('out');
  assert.deepEqual(await there.referrers('team/app', app.digest), [sbom.digest]);
});

test(
  'an index with chosen platforms alone is refused, or its images go without it',
  { skip },
  async (t) => {
    const { here, there, rule, run } = await replicationRig(t);
    const child = async (architecture: string) => {
      const config = { os: 'linux', architecture };
      const image = await there.image('team/app', undefined, [someBytes(100)], {}, config);
      const { digest } = image;
      const platform = { os: 'linux', architecture };
      return { mediaType: OCI_MANIFEST, digest, size: image.bytes.length, platform };
    };
    const [amd, arm] = [await child('amd64'), await child('arm64')];
    const index = await there.index('team/app', 'v1', [amd, arm]);
    const common = { direction: 'pull', repositories: ['team/app'] };
    const platforms = ['linux/amd64'];
    await rule('strict', { ...common, platforms, namespace: 'strict' });
    const strict = await run('strict');
    assert.deepEqual(statesOf(strict), ['team/app:v1 refused']);
    assert.match(strict.artifacts[0]?.message ?? '', /2 images and the rule wants 1 of them/);
    assert.equal(await here.tagged('strict/team/app', 'v1'), undefined);
    await rule('some', { ...common, platforms, platformPolicy: 'children', namespace: 'some' });
    assert.deepEqual(statesOf(await run('some')), ['team/app:v1 copied']);
    assert.equal(await here.tagged('some/team/app', 'v1'), amd.digest);
    await rule('all', { ...common, namespace: 'all' });
    await run('all');
    assert.equal(await here.tagged('all/team/app', 'v1'), index.digest);
    assert.equal(await here.tagged('all/team/app', arm.digest), arm.digest);
  },
);

test('a tag that names something else is moved, or left, as the rule says', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const mine = await here.image('team/app', 'v1', [someBytes(10)]);
  const theirs = await there.image('team/app', 'v1', [someBytes(10)]);
  const common = { direction: 'pull', repositories: ['team/app'] };
  await rule('careful', { ...common, override: false });
  const careful = await run('careful');
  assert.deepEqual(statesOf(careful), ['team/app:v1 refused']);
  assert.match(careful.artifacts[0]?.message ?? '', new RegExp(mine.digest));
  const [signed, signature] = ['signed', `sha256-${theirs.digest.slice(7)}.sig`];
  await there.manifest('team/app', signed, JSON.parse(String(theirs.bytes)), OCI_MANIFEST);
  await there.image('team/app', signature, [someBytes(10)]);
  const own = await here.image('team/app', signature, [someBytes(10)]);
  assert.deepEqual(statesOf(await run('careful')), [
    'team/app:signed copied',
    'team/app:v1 refused',
  ]);
  assert.equal(await here.tagged('team/app', signature), own.digest, 'a signature of ours');
  await rule('bold', { ...common, tags: { globs: ['v1'] } });
  assert.deepEqual(statesOf(await run('bold')), ['team/app:v1 copied']);
  assert.equal(await here.tagged('team/app', 'v1'), theirs.digest);
});

test(
  'tags gone at the source are removed where the rule says so, no others',
  { skip },
  async (t) => {
    const { hub, here, there, rule, run } = await replicationRig(t);
    for (const tag of ['v1', 'v2', 'v3']) await there.image('team/app', tag, [someBytes(10)]);
    const common = { direction: 'pull', repositories: ['team/app'], tags: { globs: ['v*'] } };
    await rule('in', { ...common, deletion: 'mirror' });
    await run('in');
    await here.image('team/app', 'mine', [someBytes(10)]);
    await here.image('team/app', 'v9', [someBytes(10)]);
    const mirrored = await run('in');
    assert.deepEqual(
      statesOf(mirrored).filter((one) => one.endsWith('deleted')),
      ['team/app:v9 deleted'],
    );
    assert.ok(await here.tagged('team/app', 'mine'), 'a tag that the rule does not choose');
    // A registry that deletes manifests with all their tags must not lose other tags.
    const twice = await here.image('out/app', 'v1', [someBytes(10)]);
    await here.manifest('out/app', 'v2', JSON.parse(twice.bytes.toString()), OCI_MANIFEST);
    await here.image('out/app', 'v3', [someBytes(10)]);
    await rule('out', { direction: 'push', repositories: ['out/app'], deletion: 'mirror' });
    await run('out');
    for (const tag of ['v2', 'v3'])
      await hub.ask(`/v2/out/app/manifests/${tag}`, { method: 'DELETE' });
    const out = await run('out');
    assert.deepEqual(statesOf(out), [
      'out/app:v1 present',
      'out/app:v2 refused',
      'out/app:v3 deleted',
    ]);
    assert.equal(await there.tagged('out/app', 'v1'), twice.digest);
    assert.equal(await there.tagged('out/app', 'v3'), undefined);
  },
);

test(
  'what is pushed to the hub is copied at once, and what refers to it later',
  { skip },
  async (t) => {
    const { hub, here, there, rule, ended } = await replicationRig(t);
    const settings = { direction: 'push', repositories: ['team/*'], tags: { semver: '>=1.0' } };
    await rule('follow', { ...settings, onPush: true });
    const app = await here.image('team/app', '1.2.0', [someBytes(1000)]);
    await here.image('team/app', 'latest', [someBytes(1000)]);
    await here.image('other/app', '1.2.0', [someBytes(1000)]);
    const executions = async (): Promise<string[]> => {
      const { json } = await hub.api('GET', '/replication/executions?rule=follow');
      const list: unknown = json['executions'];
      assert.ok(Array.isArray(list));
      return list.map(({ id }: { id: string }) => id);
    };
    const [first = '', ...none] = await executions();
    assert.deepEqual(none, []);
    const pushed = await ended(first);
    assert.equal(pushed.trigger, 'push');
    assert.deepEqual(statesOf(pushed), ['team/app:1.2.0 copied']);
    const subject = { mediaType: OCI_MANIFEST, digest: app.digest, size: app.bytes.length };
    const sbom = await here.image('team/app', undefined, [], { subject, artifactType: SBOM });
    const [second = ''] = await executions();
    assert.deepEqual(statesOf(await ended(second)), [`team/app:${app.digest} copied`]);
    assert.deepEqual(await there.referrers('team/app', app.digest), [sbom.digest]);
  },
);

test('what is wrong with a rule is said when it is made', async (t) => {
  const { hub, rule } = await replicationRig(t, { url: 'http://127.0.0.1:9' });
  const good = { direction: 'pull', registry: 'other', repositories: ['a'] };
  const cases: [object, RegExp][] = [
    [{ registry: 'nobody' }, /no registry \\"nobody\\"/],
    [{ repositories: ['A b'] }, /no pattern for repositories/],
    [{ tags: { regex: '(a' } }, /a \( without \)/],
    [{ tags: { regex: '(?=a)' } }, /look-around/],
    [{ tags: { semver: 'newest' } }, /\\"newest\\" is no version/],
    [{ schedule: '99 * * * *' }, /no minute/],
    [{ onPush: true }, /onPush is for rules that push/],
    [{ namespace: 'Team' }, /no name of a repository/],
    [{ colour: 'red' }, /colour/],
  ];
  for (const [change, message] of cases) {
    const body = { name: 'x', settings: { ...good, ...change } };
    const answer = await hub.api('POST', '/replication/rules', body);
    assert.equal(answer.status, 400, answer.body.toString());
    assert.match(answer.body.toString(), message);
  }
  await rule('x', good);
  const again = await hub.api('POST', '/replication/rules', { name: 'x', settings: good });
  assert.equal(again.status, 409);
  assert.equal((await hub.api('DELETE', '/replication/rules/y')).status, 404);
});

test('digests stay what they are', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  // Spaces and order of a manifest are part of its digest.
  const { bytes } = await there.image('team/app', undefined, [someBytes(10)]);
  const odd = Buffer.from(`  ${bytes.toString().replace(',', ' ,\n')}`);
  const digest = digestOf(odd);
  const { client } = there;
  const [repository, reference] = [parseRepository('team/app'), parseReference('odd')];
  await client.pushManifest(repository, reference, odd, OCI_MANIFEST);
  await rule('in', { direction: 'pull', repositories: ['team/app'], namespace: 'copies' });
  await run('in');
  assert.equal(await here.tagged('copies/team/app', 'odd'), digest);
});
