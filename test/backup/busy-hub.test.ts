// Backups by the command line of a hub that is pushed to meanwhile, and of one that is killed.
import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { Agent, request } from 'undici';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { AUTHORIZATION, startHubProcess } from '../durability/hub-process.ts';
import { Ledger } from '../durability/ledger.ts';
import { Client, randomOf } from '../durability/pushes.ts';
import { attempt, start, type Running } from '../rig/processes.ts';
import { Scratch } from '../rig/scratch.ts';
import { until } from '../rig/until.ts';

const FULL = process.env['FLOTILLA_TEST_SCALE'] === 'full';
const KILLS = FULL ? 100 : 3;
const PUSHERS = 3;
/** Of each of them; what they push has to be copied, too. */
const IMAGES_MAX = FULL ? 1000 : 25;
const TIMEOUT_MS = 60_000;
const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const ENV = { FLOTILLA_NODE: process.execPath };
const scratch = Scratch.open();
after(() => scratch.close());

/** A hub as a process of its own, and the folders of a test. */
async function hubIn(t: TestContext, name: string) {
  const folder = await scratch.make(name);
  const dataDir = path.join(folder, 'data');
  const hub = await startHubProcess(folder, dataDir);
  t.after(() => hub.running.stop());
  return { ...hub, folder, dataDir, config: path.join(folder, 'hub.yaml') };
}

/** Pushes images until told to stop. */
function pushing(url: string) {
  const ledger = new Ledger();
  const dispatcher = new Agent();
  const state = { stopped: false, pushed: 0 };
  const push = async (number: number): Promise<void> => {
    const random = randomOf(number);
    const client = new Client({ url, number, random, ledger, dispatcher, step: () => {} });
    for (let n = 0; !state.stopped && n < IMAGES_MAX; n += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one image after the other
      await client.push();
      state.pushed += 1;
    }
  };
  const running = Promise.all(Array.from({ length: PUSHERS }, (_, i) => push(i + 1)));
  return {
    ledger,
    state,
    stop: async () => {
      state.stopped = true;
      await running;
      await dispatcher.destroy();
    },
  };
}

function create(hub: { url: string; config: string }, to: string): Running {
  const words = ['backup', 'create', '--to', to, '--config', hub.config, '--url', hub.url];
  const command = [LAUNCHER, ...words, '--incremental', '--include-keys'];
  return start(command, { name: 'backup', env: ENV });
}

async function flotilla(...words: string[]) {
  return attempt([LAUNCHER, ...words], { env: ENV });
}

async function get(url: string): Promise<{ status: number; body: Buffer }> {
  const headers = { authorization: AUTHORIZATION, accept: OCI_MANIFEST };
  const { statusCode: status, body } = await request(url, { headers });
  return { status, body: Buffer.from(await body.arrayBuffer()) };
}

/** What is under the tag is whole. */
async function assertWhole(url: string, name: string): Promise<void> {
  const [repository = '', tag = ''] = name.split(':');
  const manifest = await get(`${url}/v2/${repository}/manifests/${tag}`);
  assert.equal(manifest.status, 200, name);
  const { config, layers }: { config: { digest: string }; layers: { digest: string }[] } =
    JSON.parse(manifest.body.toString());
  for (const { digest } of [config, ...layers]) {
    const { status, body } = await get(`${url}/v2/${repository}/blobs/${digest}`);
    assert.deepEqual([status, digestOf(body)], [200, digest], name);
  }
}

function promisedTo({ tags }: Ledger): string[] {
  return [...tags].filter(([, { may }]) => !may.has(undefined)).map(([name]) => name);
}

test('killed at any point and made again, a backup of a busy hub is whole', async (t) => {
  const hub = await hubIn(t, 'busy');
  const to = path.join(hub.folder, 'backup');
  const pushes = pushing(hub.url);
  await until('images are pushed', TIMEOUT_MS, async () => pushes.state.pushed > 6 || undefined);
  const begun = pushes.state.pushed;
  for (let kills = 0; kills < KILLS; kills += 1) {
    const files = kills === 0 ? 1 : 4 * kills;
    const running = create(hub, to);
    await until('there is something to break off', TIMEOUT_MS, async () => {
      const names = await readdir(to, { recursive: true }).catch(() => []);
      return running.exit !== undefined || names.length > files || undefined;
    });
    running.kill('SIGKILL');
    await running.exited;
  }
  assert.ok(pushes.state.pushed > begun, 'pushed meanwhile');
  const promised = promisedTo(pushes.ledger);
  const last = create(hub, to);
  assert.deepEqual((await last.exited).code, 0, last.output());
  await pushes.stop();
  const verified = await flotilla('backup', 'verify', to);
  assert.equal(verified.code, 0, verified.stdout);
  const restored = path.join(hub.folder, 'restored');
  const words = ['backup', 'restore', to, '--data-dir', restored, '--keep-rights'];
  const broken = start([LAUNCHER, ...words], { name: 'restore', env: ENV });
  await until('there is something to break off', TIMEOUT_MS, async () => {
    const names = await readdir(path.join(restored, 'registry', 'blobs')).catch(() => []);
    return broken.exit !== undefined || names.length > 0 || undefined;
  });
  broken.kill('SIGKILL');
  if ((await broken.exited).code !== 0) {
    const put = await flotilla(...words);
    assert.equal(put.code, 0, put.stderr);
  }
  const config = path.join(hub.folder, 'restored.yaml');
  await writeFile(config, JSON.stringify({ hub: { dataDir: restored } }));
  const checked = await flotilla('hub', 'check', '--hash', '--config', config);
  assert.equal(checked.code, 0, checked.stdout);
  const again = await startHubProcess(await scratch.make('again'), restored);
  t.after(() => again.running.stop());
  for (const name of promised) await assertWhole(again.url, name);
});

const skip = process.getuid?.() !== 0 && 'needs root, to mount a small disk';

test('a backup to a full disk says so, and goes on when there is room', { skip }, async (t) => {
  const hub = await hubIn(t, 'full-disk');
  const pushes = pushing(hub.url);
  await until('images are pushed', TIMEOUT_MS, async () => pushes.state.pushed > 6 || undefined);
  await pushes.stop();
  const disk = await scratch.disk(1024 * 1024, 'small-disk');
  const to = path.join(disk, 'backup');
  const failed = create(hub, to);
  assert.equal((await failed.exited).code, 1, failed.output());
  assert.match(failed.output(), /no space left/);
  assert.match((await flotilla('backup', 'verify', to)).stdout, /was not finished/);
  const refused = await flotilla('backup', 'restore', to, '--data-dir', `${hub.folder}/none`);
  assert.deepEqual(refused.code, 1);
  await attempt(['mount', '-o', 'remount,size=512m', disk]);
  const done = create(hub, to);
  assert.equal((await done.exited).code, 0, done.output());
  const verified = await flotilla('backup', 'verify', to);
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
});
