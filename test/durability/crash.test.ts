import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { checkHub } from '../../hub/check/check-hub.ts';
import { digestHex, digestOf, parseDigest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { AUTHORIZATION, startHubProcess } from './hub-process.ts';
import { Ledger, pushImage } from './pushes.ts';

const FULL = process.env['FLOTILLA_TEST_SCALE'] === 'full';
const ROUNDS = FULL ? 300 : 3;
const PUSHERS = 5;
const STEPS_MAX = 250;
const SEED = Number(process.env['FLOTILLA_CRASH_SEED'] ?? 20_240_229);

/** Numbers in [0, 1), the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = Math.imul(seed, 2654435761);
  return () => {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 1013904223;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

async function get(url: string): Promise<{ status: number; body: Buffer }> {
  const headers = { authorization: AUTHORIZATION, accept: OCI_MANIFEST };
  const response = await request(url, { headers });
  return { status: response.statusCode, body: Buffer.from(await response.body.arrayBuffer()) };
}

/** Pushes side by side until the hub is killed, at a step that the seed decides. */
async function pushUntilKilled(
  hub: Awaited<ReturnType<typeof startHubProcess>>,
  ledger: Ledger,
  seed: number,
): Promise<void> {
  const killAt = Math.floor(randomOf(seed)() * STEPS_MAX);
  let steps = 0;
  const step = (): void => {
    steps += 1;
    if (steps === killAt + 1) hub.running.kill('SIGKILL');
  };
  const dispatcher = new Agent();
  const push = async (pusher: number): Promise<void> => {
    const random = randomOf(seed + pusher * 7919);
    const target = { repository: `team/app-${pusher % 3}`, tag: `tag-${pusher}` };
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- one image after the other
      await pushImage({ url: hub.url, ...target, random, ledger, dispatcher, step });
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: PUSHERS }, (_, i) => push(i + 1)));
  assert.deepEqual((await hub.running.exited).signal, 'SIGKILL', hub.running.output());
  for (const end of ends) {
    const text = end.status === 'rejected' ? String(end.reason) : '';
    assert.doesNotMatch(text, /the hub answers/, 'no push was refused');
  }
  await dispatcher.destroy();
}

/** Everything answered with 201 is there; of the rest, each thing is there whole or not at all. */
async function checkPromises(url: string, ledger: Ledger): Promise<void> {
  const missing = new Set(ledger.stored);
  for (let i = 0; i < 3; i += 1) {
    for (const [digest, bytes] of ledger.sent) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { status, body } = await get(`${url}/v2/team/app-${i}/blobs/${digest}`);
      if (status === 200) assert.ok(body.equals(bytes), `${digest} has other bytes`);
      else assert.equal(status, 404);
      if (status === 200) missing.delete(digest);
    }
  }
  assert.deepEqual([...missing], [], 'blobs that were promised are lost');
  await checkTags(url, ledger);
}

async function checkTags(url: string, ledger: Ledger): Promise<void> {
  for (const [name, { promised, sent }] of ledger.tags) {
    const [repository = '', tag = ''] = name.split(':');
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { status, body } = await get(`${url}/v2/${repository}/manifests/${tag}`);
    if (promised !== undefined) assert.equal(status, 200, `${name} is lost`);
    if (status !== 200) continue;
    const digest = digestOf(body);
    assert.ok(digest === promised || sent.includes(digest), `${name} names something else`);
    const manifest: { config: { digest: string }; layers: { digest: string }[] } = JSON.parse(
      body.toString(),
    );
    for (const part of [manifest.config, ...manifest.layers]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const found = await get(`${url}/v2/${repository}/blobs/${part.digest}`);
      assert.equal(found.status, 200, `${name} lacks ${part.digest}`);
    }
  }
}

/** On the disk: every blob hashes to its name. */
async function checkDisk(dataDir: string): Promise<void> {
  const blobs = path.join(dataDir, 'registry', 'blobs');
  for (const entry of await readdir(blobs, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const bytes = await readFile(path.join(entry.parentPath, entry.name));
    assert.equal(digestHex(parseDigest(digestOf(bytes))), entry.name);
  }
}

/**
 * The check of the product: nothing is wrong but bytes of a push that was cut before it was
 * recorded, and those it removes.
 */
async function checkWhole(dataDir: string): Promise<void> {
  const { signal } = new AbortController();
  const config = { hub: { dataDir }, blobs: { driver: 'filesystem' }, catalog: {} };
  const { counts, problems } = await checkHub(config, { hash: true, repair: true }, { signal });
  assert.deepEqual({ ...counts, orphan: 0 }, { orphan: 0 }, JSON.stringify(problems));
  const again = await checkHub(config, { hash: false, repair: false }, { signal });
  assert.deepEqual(again.counts, {});
}

test(`killed at any moment, a hub keeps what it acknowledged (${ROUNDS} rounds)`, async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-crash-'));
  const dataDir = path.join(folder, 'data');
  const ledger = new Ledger();
  const begin = async (): ReturnType<typeof startHubProcess> => {
    const started = await startHubProcess(folder, dataDir);
    t.after(() => started.running.kill('SIGKILL'));
    return started;
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one life after the other
    const hub = await begin();
    // oxlint-disable-next-line no-await-in-loop -- one life after the other
    await checkDisk(dataDir);
    // oxlint-disable-next-line no-await-in-loop -- one life after the other
    await checkPromises(hub.url, ledger);
    // oxlint-disable-next-line no-await-in-loop -- one life after the other
    await pushUntilKilled(hub, ledger, SEED + round);
    // oxlint-disable-next-line no-await-in-loop -- one life after the other
    await checkWhole(dataDir);
  }
  const hub = await begin();
  await checkDisk(dataDir);
  await checkPromises(hub.url, ledger);
  assert.deepEqual((await hub.running.stop()).code, 0);
  await rm(folder, { recursive: true });
});
