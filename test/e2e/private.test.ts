import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ADMIN, HUB_NAME } from '../rig/fleet-config.ts';
import { assertBytes, Fleet } from '../rig/fleet.ts';
import type { Published } from '../rig/fleet.ts';
import { HUB_PORT, MIRROR_PORT } from '../rig/flotilla.ts';
import { makeImage, MIB } from '../rig/images.ts';
import { HUB_MACHINE_NAME } from '../rig/network.ts';
import { run } from '../rig/processes.ts';
import { fetchedBytes } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import * as skopeo from '../rig/skopeo.ts';

const LAYERS = [24 * MIB, 50_000];
const PULL_TIMEOUT_MS = 120_000;
const HUB = `localhost:${HUB_PORT}`;

const missing = missingFor('containerd', 'skopeo', 'podman');

/** A place in registries.conf (containers-registries.conf(5)). */
function place(location: string): string {
  return `location = "${location}"\ninsecure = true\n`;
}

describe('a private project', { skip: missing }, () => {
  let fleet: Fleet;
  let image: Published;
  let robot: skopeo.Credentials;
  before(async () => {
    fleet = await Fleet.start({ nodes: 2 });
    await api('POST', '/projects', { name: 'secret', visibility: 'private' });
    const made = await makeImage(fleet.scratch, 'secret', LAYERS);
    const reference = await fleet.push(made, 'secret/app:v1');
    const byDigest = `${HUB_NAME}/secret/app@${made.manifestDigest}`;
    image = { ...made, reference, byDigest, repository: 'secret/app' };
    const permissions = [{ repository: 'secret/**', actions: ['pull'] }];
    const answer = await api('POST', '/projects/secret/robots', { name: 'pods', permissions });
    const { login, secret }: { login: string; secret: string } = JSON.parse(answer);
    robot = { username: login, password: secret };
  });
  after(async () => fleet[Symbol.asyncDispose]());

  async function api(method: string, target: string, body: object): Promise<string> {
    const basic = Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64');
    const url = `http://${fleet.hub.machine.loopbackHost}:${HUB_PORT}/api/v1${target}`;
    const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/json' };
    const answer = await fleet.hub.worker.http(url, {
      method,
      headers,
      body: JSON.stringify(body),
    });
    assert.equal(answer.status, 201, answer.body.toString());
    return answer.body.toString();
  }

  test('containerd pulls it with a pull secret, from node to node', async () => {
    for (const [number, expected] of [
      [1, 'hub'],
      [2, 'peer'],
    ] as const) {
      const node = fleet.node(number);
      await node.containerd.cri.pullImage(image.reference, robot);
      await assertBytes(node.containerd, image);
      const bytes = await fetchedBytes(node, expected);
      assert.ok(bytes > (LAYERS[0] ?? 0) / 2, `${bytes} bytes from ${expected}`);
    }
  });

  test('a pod without a secret, or with a wrong one, gets nothing of it', async () => {
    const node = fleet.node(1);
    await node.containerd.remove(image.reference);
    const wrong = { ...robot, password: 'wrong' };
    for (const auth of [undefined, wrong]) {
      for (const reference of [image.reference, image.byDigest]) {
        await assert.rejects(node.containerd.cri.pullImage(reference, auth));
      }
    }
    await node.containerd.cri.pullImage(image.reference, robot);
    await assertBytes(node.containerd, image);
  });

  test('a client that sends no credentials to a mirror is told to go to the hub', async () => {
    const { machine, worker } = fleet.node(1);
    const mirror = `localhost:${MIRROR_PORT}/${image.repository}:v1`;
    const layout = path.join(await fleet.scratch.make('private'), 'mirror');
    await assert.rejects(skopeo.pull(machine, mirror, layout), /unauthorized|authentication/i);
    const url = `http://${machine.loopbackHost}:${MIRROR_PORT}/v2/secret/app/manifests/v1`;
    const answer = await worker.http(`${url}?ns=${HUB_NAME}`, { method: 'GET', headers: {} });
    assert.equal(answer.status, 401);
    // Podman, skopeo and CRI-O learn at /v2/ whether to log in, where a mirror asks nobody to. So
    // they get what is private from the hub itself.
    await assert.rejects(skopeo.pull(machine, mirror, layout, robot), /unauthorized/i);
    const direct = `${HUB_MACHINE_NAME}:${HUB_PORT}/${image.repository}:v1`;
    await skopeo.pull(machine, direct, layout, robot);
  });

  test('past a mirror, the library of CRI-O gets what is private from the hub', async () => {
    const { machine } = fleet.node(1);
    const folder = await fleet.scratch.make('mirrored');
    const hub = `${HUB_MACHINE_NAME}:${HUB_PORT}`;
    const conf = path.join(folder, 'registries.conf');
    const mirror = `[[registry.mirror]]\n${place(`localhost:${MIRROR_PORT}`)}`;
    await writeFile(conf, `[[registry]]\n${place(hub)}${mirror}`);
    const auth = Buffer.from(`${robot.username}:${robot.password}`).toString('base64');
    const authFile = path.join(folder, 'auth.json');
    await writeFile(authFile, JSON.stringify({ auths: { [hub]: { auth } } }));
    const pull = async (layout: string, ...flags: string[]): Promise<unknown> => {
      const copy = ['--registries-conf', conf, '--insecure-policy', 'copy', '--quiet', ...flags];
      const target = `oci:${path.join(folder, layout)}:v1`;
      const command = ['skopeo', ...copy, `docker://${hub}/${image.repository}:v1`, target];
      return run(machine.insideWithNames(command), { timeoutMs: PULL_TIMEOUT_MS });
    };
    await pull('with', '--authfile', authFile);
    const nobody = path.join(folder, 'nobody.json');
    await writeFile(nobody, '{}');
    await assert.rejects(pull('without', '--authfile', nobody), /unauthorized|authentication/i);
  });

  test('skopeo and podman log in as a robot and pull; its push is refused', async () => {
    const folder = await fleet.scratch.make('login');
    const authFile = path.join(folder, 'auth.json');
    const inHub = (command: string[]) => run(fleet.hub.machine.inside(command));
    const who = ['--username', robot.username, '--password', robot.password];
    for (const tool of ['skopeo', 'podman']) {
      await inHub([tool, 'login', '--authfile', authFile, '--tls-verify=false', ...who, HUB]);
    }
    assert.ok((await readFile(authFile, 'utf8')).includes(HUB));
    const flags = ['--authfile', authFile, '--src-tls-verify=false', '--dest-tls-verify=false'];
    const copy = ['skopeo', '--insecure-policy', 'copy', '--quiet', ...flags];
    const target = `oci:${path.join(folder, 'layout')}:v1`;
    await inHub([...copy, `docker://${HUB}/secret/app:v1`, target]);
    const push = inHub([...copy, target, `docker://${HUB}/secret/other:v1`]);
    await assert.rejects(push, /denied|unauthorized|authentication/i);
    const bad = ['--username', robot.username, '--password', 'wrong'];
    const login = ['skopeo', 'login', '--authfile', authFile, '--tls-verify=false', ...bad, HUB];
    await assert.rejects(inHub(login), /invalid username\/password|unauthorized/i);
  });
});
