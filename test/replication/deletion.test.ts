import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { imageOf, ownRegistry, sendManifest } from './own-registry.ts';
import { replicationRig, someBytes, statesOf, type Pusher } from './rig.ts';

// A rule that removes what is gone at the source removes nothing else.

const skip = missingDockerRegistry();
const PULL = { direction: 'pull', repositories: ['team/app'], deletion: 'mirror' };

async function childOf(at: Pusher, architecture: string) {
  const platform = { os: 'linux', architecture };
  const { digest, bytes } = await at.image('team/app', undefined, [someBytes(99)], {}, platform);
  return { mediaType: OCI_MANIFEST, digest, size: bytes.length, platform };
}

test('images of an index that went without it stay under their own tags', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const [amd, arm] = [await childOf(there, 'amd64'), await childOf(there, 'arm64')];
  const other = await childOf(there, 'riscv64');
  await there.index('team/app', 'v1', [amd, arm, other]);
  const platforms = ['linux/amd64', 'linux/arm64'];
  await rule('in', { ...PULL, platforms, platformPolicy: 'children' });
  await run('in');
  await here.image('team/app', 'v1-linux-s390x', [someBytes(9)]);
  const again = await run('in');
  assert.deepEqual(statesOf(again), ['team/app:v1 present', 'team/app:v1-linux-s390x deleted']);
  assert.equal(await here.tagged('team/app', 'v1-linux-amd64'), amd.digest);
  assert.equal(await here.tagged('team/app', 'v1-linux-arm64'), arm.digest);
});

test('a manifest that an index needs is not removed with a tag of its own', { skip }, async (t) => {
  const { hub, here, there, rule, run } = await replicationRig(t);
  const [amd, arm] = [await childOf(here, 'amd64'), await childOf(here, 'arm64')];
  const index = await here.index('team/app', 'v1', [amd, arm]);
  const reference = parseReference(amd.digest);
  const bytes = await here.client.getManifest(parseRepository('team/app'), reference);
  await here.manifest('team/app', 'amd', JSON.parse(String(bytes?.bytes)), OCI_MANIFEST);
  await rule('out', { direction: 'push', repositories: ['team/app'], deletion: 'mirror' });
  await run('out');
  assert.equal(await there.tagged('team/app', 'amd'), amd.digest);
  await hub.ask('/v2/team/app/manifests/amd', { method: 'DELETE' });
  const out = await run('out');
  assert.deepEqual(statesOf(out), ['team/app:amd refused', 'team/app:v1 present']);
  assert.match(out.artifacts[0]?.message ?? '', /others need/);
  assert.equal(await there.tagged('team/app', 'v1'), index.digest);
  assert.equal(await there.tagged('team/app', amd.digest), amd.digest);
});

test('what the rule would not choose by its type is none of its own', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const artifactType = 'application/x-model';
  await there.image('team/app', 'one', [someBytes(9)], { artifactType });
  await rule('in', { ...PULL, artifactTypes: [artifactType] });
  await here.image('team/app', 'old', [someBytes(9)], { artifactType });
  await here.image('team/app', 'image', [someBytes(9)]);
  assert.deepEqual(statesOf(await run('in')), ['team/app:old deleted', 'team/app:one copied']);
  assert.ok(await here.tagged('team/app', 'image'));
});

test('a list of tags that breaks off in the middle removes nothing', async (t) => {
  const manifest = imageOf([]);
  const url = await ownRegistry(t, (path, response) => {
    if (path.includes('last=v1')) response.statusCode = 404;
    else if (path.includes('/tags/list')) {
      response.setHeader('link', '</v2/team/app/tags/list?n=500&last=v1>; rel="next"');
      return void response.end('{"tags":["v1"]}');
    } else if (path.includes('/manifests/v1') || path.includes(digestOf(manifest))) {
      return sendManifest(response, manifest);
    } else if (path.includes('/blobs/')) return void response.end('{}');
    else response.statusCode = 404;
    response.end();
  });
  const { here, rule, run } = await replicationRig(t, { url });
  await here.image('team/app', 'v2', [someBytes(9)]);
  await rule('in', { ...PULL, attempts: 1 });
  assert.ok(!statesOf(await run('in')).includes('team/app:v2 deleted'));
  assert.ok(await here.tagged('team/app', 'v2'));
});
