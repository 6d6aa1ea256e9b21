import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { AGENT_OPS_PORT, HUB_OPS_PORT } from '../rig/flotilla.ts';
import { Network } from '../rig/network.ts';
import { run } from '../rig/processes.ts';
import { missingFor } from '../rig/requirements.ts';
import { Scratch } from '../rig/scratch.ts';
import { until } from '../rig/until.ts';
import { Worker } from '../rig/worker.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const BASE = 'localhost/flotilla-test-base';
const IMAGE = 'localhost/flotilla-test';
const READY_TIMEOUT_MS = 30_000;
const BUILD_TIMEOUT_MS = 240_000;
/** What Node.js needs of the operating system; busybox stands in for a shell. */
const BASE_PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6'];

describe('the container image', { skip: missingFor('buildah', 'dpkg', 'tar') }, () => {
  const scratch = Scratch.open();
  let buildah: string[] = [];
  let network: Network;
  before(async () => {
    const folder = await scratch.make('buildah');
    const policy = path.join(folder, 'policy.json');
    await writeFile(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
    buildah = ['buildah', '--root', `${folder}/root`, '--runroot', `${folder}/run`];
    buildah.push('--storage-driver', 'overlay');
    network = await Network.create(scratch, { nodes: 0 });
    await makeBase();
    const build = ['build', '--isolation', 'chroot', '--signature-policy', policy, '--quiet'];
    const args = ['--build-arg', `BASE=${BASE}`, '--pull-never', '--tag', IMAGE];
    const file = ['--file', 'daemonset/Containerfile', '.'];
    await run([...buildah, ...build, ...args, ...file], { cwd: ROOT, timeoutMs: BUILD_TIMEOUT_MS });
  });
  after(() => scratch.close());

  /** A base image of this machine's own Debian packages, since no registry can be reached. */
  async function makeBase(): Promise<void> {
    const base = await scratch.make('base');
    const { stdout } = await run(['dpkg', '-L', ...BASE_PACKAGES]);
    const files = stdout.split('\n').filter((file) => /^\/(usr\/)?lib(64)?\/./.test(file));
    const list = path.join(base, '..', 'base-files');
    await writeFile(list, files.map((file) => file.slice(1)).join('\n'));
    const archive = path.join(base, '..', 'base.tar');
    await run(['tar', '-C', '/', '--no-recursion', '-cf', archive, '-T', list]);
    await run(['tar', '-C', base, '-xf', archive]);
    for (const folder of ['bin', 'tmp', 'etc']) await mkdir(path.join(base, folder));
    await copyFile('/bin/busybox', path.join(base, 'bin', 'busybox'));
    await run(['chroot', base, '/bin/busybox', '--install', '-s', '/bin']);
    const container = (await run([...buildah, 'from', 'scratch'])).stdout.trim();
    await run([...buildah, 'copy', '--quiet', container, base, '/']);
    await run([...buildah, 'commit', '--quiet', '--rm', container, BASE]);
  }

  test('says its version and runs as a user that is not root', async () => {
    const container = await create();
    const version = await run([...buildah, ...inside(container, ['version'])]);
    assert.match(version.stdout, /\d+\.\d+\.\d+/);
    const id = await run([...buildah, 'run', '--isolation', 'chroot', container, '/bin/id', '-u']);
    assert.equal(id.stdout.trim(), '65532');
  });

  for (const [kind, port] of [
    ['hub', HUB_OPS_PORT],
    ['agent', AGENT_OPS_PORT],
  ] as const) {
    test(`starts the ${kind}, which becomes ready`, async () => {
      const container = await create();
      const worker = await Worker.start(network.hub);
      const program = network.hub.start([...buildah, ...inside(container, [kind])], {
        name: `${kind} from the image`,
      });
      try {
        await until(`${kind} ready`, READY_TIMEOUT_MS, async () => {
          if (program.exit) throw new Error(`the ${kind} ended: ${program.output()}`);
          const url = `http://127.0.0.1:${port}/readyz`;
          const answer = await worker.http(url).catch(() => undefined);
          return answer?.status === 200 ? true : undefined;
        });
      } finally {
        await program.stop();
        await worker.stop();
      }
    });
  }

  async function create(): Promise<string> {
    const { stdout } = await run([...buildah, 'from', '--pull-never', IMAGE]);
    return stdout.trim();
  }
});

function inside(container: string, words: readonly string[]): string[] {
  const command = ['/opt/flotilla/bin/flotilla', ...words];
  return ['run', '--isolation', 'chroot', container, '--', ...command];
}
