import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { GC_LEASE_MS } from './constants.ts';
import { imageOf, TestGc } from './gc-fixture.ts';

const LAYERS = 6;
const PUSHERS = 4;
/** Of the steps of pushes, those at which a collection begins. */
const COLLECT_SHARE = 0.08;
/** Manifests of each pusher that are to be taken, and in how many tries. */
const PUSHES = process.env['FLOTILLA_TEST_SCALE'] === 'full' ? 150 : 3;
const TRIES_MAX = 40 * PUSHES;

/** Numbers in [0, 1), the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed * 2654435761;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** What a client does: asks for each blob, sends those that are not there, then the manifest. */
async function push(
  gc: TestGc,
  repository: string,
  layers: readonly Buffer[],
  step: () => void,
): Promise<boolean> {
  for (const layer of layers) {
    step();
    if ((await gc.head(layer, repository)) !== 200) await send(gc, repository, layer);
  }
  step();
  const { status, body } = await gc.putManifest(imageOf(layers), repository);
  step();
  assert.ok(status === 201 || status === 404, body.toString());
  return status === 201;
}

/** An answer that tells to try again is taken at its word. */
async function send(gc: TestGc, repository: string, bytes: Buffer): Promise<void> {
  for (let tries = 0; tries < 20; tries += 1) {
    const target = `${await gc.registry.open(repository)}?digest=${digestOf(bytes)}`;
    const { status, body } = await gc.registry.ask(target, { method: 'PUT', body: bytes });
    if (status === 201) return;
    assert.equal(status, 503, body.toString());
  }
  assert.fail('the upload never got through');
}

async function assertPullable(gc: TestGc, repository: string, manifest: Digest): Promise<void> {
  const found = await gc.registry.ask(`/v2/${repository}/manifests/${manifest}`);
  assert.equal(found.status, 200);
  const image: { config: { digest: string }; layers: { digest: string }[] } = JSON.parse(
    found.body.toString(),
  );
  for (const { digest } of [image.config, ...image.layers]) {
    const blob = await gc.registry.ask(`/v2/${repository}/blobs/${digest}`);
    assert.equal(blob.status, 200, `${repository} lost ${digest} of ${manifest}`);
    assert.equal(digestOf(blob.body), digest);
  }
}

/** Each request at the next hub. */
async function pusher(hubs: readonly TestGc[], number: number, step: () => void): Promise<number> {
  const random = randomOf(number + 1);
  const repository = `team/app-${number % 2}`;
  const shared = Array.from({ length: LAYERS }, (_, i) => Buffer.from(`shared layer ${i}`));
  const hub = (): TestGc => hubs[Math.floor(random() * hubs.length)] ?? assert.fail();
  let taken = 0;
  for (let round = 0; taken < PUSHES && round < TRIES_MAX; round += 1) {
    const config = Buffer.from(`config ${number} ${round}`);
    const layers = shared.filter(() => random() < 0.4);
    if (!(await push(hub(), repository, [config, ...layers], step))) continue;
    taken += 1;
    const manifest = digestOf(imageOf([config, ...layers]));
    await assertPullable(hub(), repository, manifest);
    const target = `/v2/${repository}/manifests/${manifest}`;
    await hub().registry.ask(target, { method: 'DELETE' });
  }
  return taken;
}

/**
 * Collects, without any grace, at steps of pushes that the seed decides. With several hubs each
 * takes over from the others, whose collections are then told that they are late.
 */
function collectorsAtSteps(hubs: readonly TestGc[]) {
  const random = randomOf(99);
  const { signal } = new AbortController();
  const work = { deleted: 0, late: 0, running: new Set<Promise<void>>(), aheadMs: 0 };
  const collect = async (hub: TestGc): Promise<void> => {
    // Its clock says that the lease of every other hub has run out.
    if (hubs.length > 1) hub.aheadMs = work.aheadMs += 2 * GC_LEASE_MS;
    try {
      work.deleted += (await hub.collector().collect({}, { signal }))?.deleted ?? 0;
    } catch (err) {
      if (!hasCode(err, 'LEASE_LOST')) throw err;
      work.late += 1;
    }
  };
  const step = (): void => {
    if (work.running.size >= hubs.length || random() > COLLECT_SHARE) return;
    const hub = hubs[Math.floor(random() * hubs.length)] ?? assert.fail();
    const running = collect(hub).finally(() => work.running.delete(running));
    work.running.add(running);
  };
  return { step, work };
}

/** What pushes, pulls and collections promise each other, over hubs that share their drivers. */
export function raceConformance(
  where: string,
  start: (t: TestContext) => Promise<readonly TestGc[]>,
  options: { skip?: string | false } = {},
): void {
  const promise = 'every manifest taken stays pullable while what is unused is collected';
  test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
    const hubs = await start(t);
    const { step, work } = collectorsAtSteps(hubs);
    const pushers = Array.from({ length: PUSHERS }, (_, i) => pusher(hubs, i, step));
    const taken = (await Promise.all(pushers)).reduce((a, b) => a + b);
    await Promise.all(work.running);
    assert.equal(taken, PUSHERS * PUSHES);
    assert.ok(work.deleted > 0, 'the collector had work');
    t.diagnostic(`${taken} manifests, ${work.deleted} blobs removed, ${work.late} taken over`);
  });
}
