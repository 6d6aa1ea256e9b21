import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readLayout } from '../rig/images.ts';
import { run } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';
import { DockerHub } from './docker-hub.ts';

const skip = findProgram('skopeo') === undefined && 'needs skopeo: see test/rig/install.sh';
const MIB = 1024 ** 2;

test('skopeo inspects an image of the stand-in and copies it', { skip }, async (t) => {
  const accounts = { ann: { password: 'a', id: 'id-of-ann', limit: undefined } };
  await using hub = await DockerHub.start({ accounts });
  const layers = [
    { seed: 'one', bytes: 5 * MIB },
    { seed: 'two', bytes: 12_345 },
  ];
  const platforms = ['amd64', 'arm64'].map((architecture) => ({
    os: 'linux',
    architecture,
    layers,
  }));
  const image = hub.shelf.addImage({ repository: 'library/app', tags: ['v1'], platforms });
  hub.shelf.own('library/app', 'ann');
  const source = `docker://${new URL(hub.url).host}/library/app:v1`;
  const inspect = ['inspect', '--tls-verify=false', '--creds', 'ann:a', '--raw', source];
  const { stdout } = await run(['skopeo', ...inspect]);
  assert.deepEqual(
    JSON.parse(stdout).manifests.map(({ digest }: { digest: string }) => digest),
    image.manifests.map(({ digest }) => digest),
  );

  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-stand-in-'));
  t.after(() => rm(folder, { recursive: true }));
  hub.forget();
  const [first] = image.manifests;
  const copy = [
    'copy',
    '--quiet',
    '--preserve-digests',
    '--src-tls-verify=false',
    '--src-creds',
    'ann:a',
  ];
  const choose = ['--override-os', 'linux', '--override-arch', 'amd64'];
  const target = `oci:${folder}:v1`;
  await run(['skopeo', '--insecure-policy', ...choose, ...copy, source, target]);
  const copied = await readLayout(folder);
  assert.deepEqual(copied.layers, first?.layers);
  assert.equal(copied.manifestDigest, first?.digest);
  assert.deepEqual(hub.report().counted, { ann: 2 });
});
