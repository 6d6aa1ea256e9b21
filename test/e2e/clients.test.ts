import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ADMIN } from '../rig/fleet-config.ts';
import { Fleet } from '../rig/fleet.ts';
import { HUB_PORT, MIRROR_PORT } from '../rig/flotilla.ts';
import { MIB, readLayout } from '../rig/images.ts';
import type { Published } from '../rig/fleet.ts';
import { run } from '../rig/processes.ts';
import { findProgram, missingFor } from '../rig/requirements.ts';
import * as skopeo from '../rig/skopeo.ts';

const HUB = `localhost:${HUB_PORT}`;
const LAYERS = [9 * MIB, 20_000];
const READY_TIMEOUT_MS = 20_000;
const CREDENTIALS = `${ADMIN.username}:${ADMIN.password}`;

const missing = missingFor('podman', 'buildah', 'oras', 'dockerd', 'docker');

describe('the clients people use', { skip: missing }, () => {
  let fleet: Fleet;
  let image: Published;
  before(async () => {
    fleet = await Fleet.start({ nodes: 1, containerd: false });
    image = await fleet.publish('clients', LAYERS);
  });
  after(async () => fleet[Symbol.asyncDispose]());

  async function inHub(command: string[], env: Record<string, string> = {}): Promise<string> {
    const result = await run(fleet.hub.machine.inside(command), { env });
    return result.stdout;
  }

  /** Pulls back with another program than pushed, so that one's quirks cannot hide both. */
  async function assertSameLayers(reference: string, name: string): Promise<void> {
    const layout = path.join(await fleet.scratch.make('clients'), name);
    await skopeo.pull(fleet.hub.machine, reference, layout);
    const found = await readLayout(layout);
    assert.deepEqual(found.layers, image.layers);
    assert.equal(found.config.digest, image.config.digest);
  }

  test('skopeo pulls back what it pushed, and through the agent without a namespace', async () => {
    await assertSameLayers(`${HUB}/${image.repository}:v1`, 'by-skopeo');
    const { machine } = fleet.node(1);
    const layout = path.join(await fleet.scratch.make('clients'), 'by-agent');
    await skopeo.pull(machine, `localhost:${MIRROR_PORT}/${image.repository}:v1`, layout);
    const found = await readLayout(layout);
    assert.equal(found.manifestDigest, image.manifestDigest);
    assert.deepEqual(found.layers, image.layers);
  });

  test('a push without credentials is refused', async () => {
    const push = skopeo.push(fleet.hub.machine, image, `${HUB}/clients/anonymous:v1`);
    await assert.rejects(push, /authentication required|unauthorized|401/i);
  });

  for (const tool of ['podman', 'buildah'] as const) {
    test(`${tool} pulls from the hub and pushes to it`, async () => {
      const folder = await fleet.scratch.make(tool);
      const roots = ['--root', `${folder}/root`, '--runroot', `${folder}/run`];
      const base = [tool, ...roots, '--storage-driver', 'overlay'];
      if (tool === 'podman') base.push('--cgroup-manager', 'cgroupfs', '--runtime', 'runc');
      const policy = path.join(folder, 'policy.json');
      await writeFile(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
      const source = `${HUB}/${image.repository}:v1`;
      const flags = ['--quiet', '--tls-verify=false', '--signature-policy', policy];
      await inHub([...base, 'pull', ...flags, source]);
      const target = `${HUB}/clients/${tool}:v1`;
      const auth = ['--creds', CREDENTIALS];
      await inHub([...base, 'push', ...flags, ...auth, source, `docker://${target}`]);
      await inHub([...base, 'rmi', '--all', '--force']);
      await inHub([...base, 'pull', ...flags, target]);
    });
  }

  test('oras pushes an artifact and pulls the same bytes', async () => {
    const folder = await fleet.scratch.make('oras');
    const file = path.join(folder, 'weights.bin');
    const bytes = await readFile(path.join(image.layout, 'index.json'));
    await writeFile(file, bytes);
    const oras = findProgram('oras') ?? 'oras';
    const env = { HOME: folder };
    const target = `${HUB}/clients/model:1`;
    const auth = ['--username', ADMIN.username, '--password', ADMIN.password];
    const push = [oras, 'push', '--plain-http', ...auth, '--artifact-type', 'application/x-model'];
    const inFolder = ['env', '-C', folder];
    await inHub([...inFolder, ...push, target, 'weights.bin:application/x-weights'], env);
    await rm(file);
    await inHub([...inFolder, oras, 'pull', '--plain-http', target], env);
    assert.deepEqual(await readFile(file), bytes);
  });

  test('dockerd pulls from the hub and pushes to it', async () => {
    const folder = await fleet.scratch.make('docker');
    const socket = `unix://${folder}/docker.sock`;
    const config = {
      'data-root': `${folder}/data`,
      'exec-root': `${folder}/exec`,
      pidfile: `${folder}/pid`,
      hosts: [socket],
      iptables: false,
      ip6tables: false,
      bridge: 'none',
      'storage-driver': 'overlay2',
      'exec-opts': ['native.cgroupdriver=cgroupfs'],
      'registry-mirrors': [],
    };
    await writeFile(path.join(folder, 'daemon.json'), JSON.stringify(config));
    const command = ['dockerd', '--config-file', path.join(folder, 'daemon.json')];
    const daemon = fleet.hub.machine.start(command, { name: 'dockerd' });
    try {
      await daemon.waitForOutput(/API listen on/, READY_TIMEOUT_MS);
      const docker = ['docker', '--host', socket, '--config', folder];
      const source = `127.0.0.1:${HUB_PORT}/${image.repository}:v1`;
      await inHub([...docker, 'pull', '--quiet', source]);
      const target = `127.0.0.1:${HUB_PORT}/clients/docker:v1`;
      const auth = ['--username', ADMIN.username, '--password', ADMIN.password];
      await inHub([...docker, 'login', ...auth, `127.0.0.1:${HUB_PORT}`]);
      await inHub([...docker, 'tag', source, target]);
      await inHub([...docker, 'push', '--quiet', target]);
      await inHub([...docker, 'rmi', source, target]);
      await inHub([...docker, 'pull', '--quiet', target]);
    } finally {
      await daemon.stop();
    }
  });
});
