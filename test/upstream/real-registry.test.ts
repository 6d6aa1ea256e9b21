import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { missingDockerRegistry, startDockerRegistry } from '../rig/docker-registry.ts';
import { readLayout } from '../rig/images.ts';
import { run } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';
import { hubInFront, standIn } from './hub-in-front.ts';

const MIB = 1024 ** 2;
const NAME = 'registry.example';
const skip =
  missingDockerRegistry() ||
  (findProgram('skopeo') === undefined && 'needs skopeo: see test/rig/install.sh');

function skopeo(...args: string[]): Promise<unknown> {
  return run(['skopeo', '--insecure-policy', ...args]);
}

test('what Debian’s registry has is pulled through the hub, byte for byte', { skip }, async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-real-'));
  t.after(() => rm(folder, { recursive: true }));
  await using registry = await startDockerRegistry(folder);
  const source = await standIn(t, { tls: undefined });
  const layers = [
    { seed: 'large', bytes: 9 * MIB },
    { seed: 'small', bytes: 1000 },
  ];
  const platforms = ['amd64', 'arm64'].map((architecture) => {
    return { os: 'linux', architecture, layers };
  });
  const image = source.shelf.addImage({ repository: 'library/app', tags: ['v1'], platforms });
  const from = `docker://${new URL(source.url).host}/library/app:v1`;
  const there = `docker://${new URL(registry.url).host}/team/app:v1`;
  const plain = ['--quiet', '--all', '--preserve-digests'];
  const noTls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  await skopeo('copy', ...plain, ...noTls, from, there);

  const hub = await hubInFront(t, [{ name: NAME, url: registry.url }]);
  const index = await hub.get(`/v2/${NAME}/team/app/manifests/v1`);
  assert.deepEqual([index.status, index.sha256], [200, image.digest]);
  const layout = path.join(folder, 'layout');
  const ours = `docker://${new URL(hub.url).host}/${NAME}/team/app:v1`;
  const choose = ['--override-os', 'linux', '--override-arch', 'arm64'];
  const what = ['copy', '--quiet', '--preserve-digests', '--src-tls-verify=false'];
  await skopeo(...choose, ...what, ours, `oci:${layout}:v1`);
  const pulled = await readLayout(layout);
  const [, arm] = image.manifests;
  assert.equal(pulled.manifestDigest, arm?.digest);
  assert.deepEqual(pulled.layers, arm?.layers);
});
