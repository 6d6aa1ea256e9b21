// What oras attached and cosign signed is still there, and verifies, after it was copied.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { run } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';
import { replicationRig, someBytes, statesOf, type Rig } from './rig.ts';

const PROGRAM_TIMEOUT_MS = 60_000;

function missing(program: string): string | false {
  if (findProgram(program) === undefined) return `needs ${program}: see test/rig/install.sh`;
  return missingDockerRegistry();
}

/** Runs a client with a home of its own in the folder of the hub. */
async function client({ hub }: Rig, words: readonly string[]): Promise<string> {
  const home = path.join(hub.folder, 'client');
  await mkdir(home, { recursive: true });
  const [name = '', ...rest] = words;
  const env = { HOME: home, COSIGN_PASSWORD: '', DOCKER_CONFIG: home };
  const options = { env, cwd: home, timeoutMs: PROGRAM_TIMEOUT_MS };
  return (await run([findProgram(name) ?? name, ...rest], options)).stdout;
}

function place(url: string, repository: string): string {
  return `${new URL(url).host}/${repository}`;
}

test('what oras attached is found at the copy', { skip: missing('oras') }, async (t) => {
  const rig = await replicationRig(t);
  const { there, rule, run: runRule } = rig;
  await there.image('team/app', 'v1', [someBytes(1000)]);
  const from = place(there.url, 'team/app');
  await client(rig, ['oras', 'version']);
  const sbom = path.join(rig.hub.folder, 'client', 'sbom.json');
  await writeFile(sbom, '{"spdxVersion":"SPDX-2.3"}');
  const type = ['--artifact-type', 'application/spdx+json'];
  const attach = ['oras', 'attach', '--plain-http', ...type, `${from}:v1`];
  await client(rig, [...attach, 'sbom.json:application/json']);
  await rule('in', { direction: 'pull', repositories: ['team/app'], namespace: 'copies' });
  assert.deepEqual(statesOf(await runRule('in')), ['team/app:v1 copied']);
  const copy = place(rig.hub.url, 'copies/team/app');
  const discover = ['oras', 'discover', '--plain-http', '--format', 'json', `${copy}:v1`];
  assert.match(await client(rig, discover), /application\/spdx\+json/);
  // And once more, to a registry that keeps the list under a tag.
  await rule('out', { direction: 'push', repositories: ['copies/**'], namespace: 'again' });
  assert.deepEqual(statesOf(await runRule('out')), ['copies/team/app:v1 copied']);
  const again = place(there.url, 'again/copies/team/app');
  const last = ['oras', 'discover', '--plain-http', '--format', 'json', `${again}:v1`];
  assert.match(await client(rig, last), /application\/spdx\+json/);
});

test('what cosign signed verifies at the copy', { skip: missing('cosign') }, async (t) => {
  const rig = await replicationRig(t);
  const { there, rule, run: runRule } = rig;
  const { digest } = await there.image('team/app', 'v1', [someBytes(1000)]);
  await client(rig, ['cosign', 'generate-key-pair']);
  const plain = ['--allow-http-registry', '--allow-insecure-registry'];
  const from = `${place(there.url, 'team/app')}@${digest}`;
  const sign = ['cosign', 'sign', '--yes', '--key', 'cosign.key', '--tlog-upload=false'];
  await client(rig, [...sign, ...plain, from]);
  await rule('in', { direction: 'pull', repositories: ['team/app'], namespace: 'copies' });
  assert.deepEqual(statesOf(await runRule('in')), ['team/app:v1 copied']);
  const verify = ['cosign', 'verify', '--key', 'cosign.pub', '--insecure-ignore-tlog', ...plain];
  const copy = place(rig.hub.url, 'copies/team/app');
  assert.match(await client(rig, [...verify, `${copy}@${digest}`]), new RegExp(digest));
  const other = await rig.here.image('copies/team/app', 'v2', [someBytes(1000)]);
  await assert.rejects(
    client(rig, [...verify, `${copy}@${other.digest}`]),
    /no signatures found/,
    'what nobody signed does not',
  );
});
