import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
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

async function pusher(gc: TestGc, number: number, step: () => void): Promise<number> {
  const random = randomOf(number + 1);
  const repository = `team/app-${number % 2}`;
  const shared = Array.from({ length: LAYERS }, (_, i) => Buffer.from(`shared layer ${i}`));
  let taken = 0;
  for (let round = 0; taken < PUSHES && round < TRIES_MAX; round += 1) {
    const config = Buffer.from(`config ${number} ${round}`);
    const layers = shared.filter(() => random() < 0.4);
    if (!(await push(gc, repository, [config, ...layers], step))) continue;
    taken += 1;
    const manifest = digestOf(imageOf([config, ...layers]));
    await assertPullable(gc, repository, manifest);
    await gc.registry.ask(`/v2/${repository}/manifests/${manifest}`, { method: 'DELETE' });
  }
  return taken;
}

/** Collects, without any grace, at steps of pushes that the seed decides; once at a time. */
function collectorAtSteps(gc: TestGc) {
  const random = randomOf(99);
  const { signal } = new AbortController();
  const work = { deleted: 0, running: Promise.resolve(), idle: true };
  const collect = async (): Promise<void> => {
    work.deleted += (await gc.collector().collect({}, { signal }))?.deleted ?? 0;
    work.idle = true;
  };
  const step = (): void => {
    if (!work.idle || random() > COLLECT_SHARE) return;
    work.idle = false;
    work.running = collect();
  };
  return { step, work };
}

test('every manifest taken stays pullable while what is unused is collected', async (t) => {
  const gc = await TestGc.start(t);
  const { step, work } = collectorAtSteps(gc);
  const pushers = Array.from({ length: PUSHERS }, (_, i) => pusher(gc, i, step));
  const taken = (await Promise.all(pushers)).reduce((a, b) => a + b);
  await work.running;
  assert.equal(taken, PUSHERS * PUSHES);
  assert.ok(work.deleted > 0, 'the collector had work');
});
