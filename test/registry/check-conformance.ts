// What the check must find and repair, wherever catalog and blobs of a hub are.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { imageOf, TestGc } from '../../hub/gc/gc-fixture.ts';
import { UPLOAD_ORPHAN_MS } from '../../hub/registry/constants.ts';
import { formatReport, isSound, type ProblemKind } from '../../hub/check/check.ts';
import { checkHub } from '../../hub/check/check-hub.ts';

/** A hub that was stopped, and what breaks its bytes behind its back. */
export type CheckRig = {
  gc: TestGc;
  config: Parameters<typeof checkHub>[0];
  lose(digest: Digest): Promise<void>;
  /** Makes other bytes those of the blob. */
  replace(digest: Digest, bytes: Buffer): Promise<void>;
  /** Stores bytes that nobody knows of. */
  stray(bytes: Buffer): Promise<void>;
  /** Stores bytes of an upload that nobody knows of; as files, in parts, or both. */
  abandon(bytes: Buffer): Promise<void>;
  /** How many files or objects there are, those that were moved aside left out. */
  count(): Promise<number>;
};

type Start = (t: TestContext) => Promise<CheckRig>;
type Wish = { repair?: boolean; hash?: boolean; later?: boolean };

const LAYERS = ['whole', 'gone', 'cut short', 'flipped', 'extended'].map((text) =>
  Buffer.from(text),
);
const [whole, gone, short, flipped, extended] = LAYERS;
const { signal } = new AbortController();

export function checkConformance(
  where: string,
  start: Start,
  options: { skip?: string | false } = {},
): void {
  const check = (promise: string, work: (rig: CheckRig) => Promise<void>): void => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const rig = await start(t);
      await rig.gc.pushImage(LAYERS);
      await work(rig);
    });
  };

  check('nothing is wrong with a hub that was left alone', async (rig) => {
    await rig.gc.registry.open();
    const { counts, blobs, hashed } = await checked(rig);
    assert.deepEqual([counts, blobs, hashed], [{}, LAYERS.length, LAYERS.length]);
  });

  for (const [what, kind, damage] of DAMAGES) {
    check(`${what} is found, repaired, and gone after a push`, async (rig) => {
      await damage(rig);
      const look = await checked(rig);
      assert.deepEqual([look.counts, look.repaired], [{ [kind]: 1 }, 0]);
      assert.equal(isSound(look), false);
      assert.match(formatReport(look), new RegExp(`^${kind}: `));
      const mended = await checked(rig, { repair: true });
      assert.equal(mended.repaired, 1, JSON.stringify(mended));
      await pushAgain(rig);
      const { counts } = await checked(rig);
      assert.deepEqual(counts, {});
      assert.equal(await rig.count(), LAYERS.length);
    });
  }

  check('what an upload left is removed when a hub would have done so', async (rig) => {
    await rig.abandon(Buffer.from('nobody goes on with this'));
    assert.deepEqual((await checked(rig, { repair: true })).counts, {}, 'it may be of now');
    const later = await checked(rig, { later: true });
    assert.ok((later.counts.leftover ?? 0) > 0, JSON.stringify(later));
    assert.equal(isSound(await checked(rig, { later: true, repair: true })), true);
    assert.deepEqual((await checked(rig, { later: true })).counts, {});
    assert.equal(await rig.count(), LAYERS.length);
  });

  check('a repair of everything at once leaves what is whole', async (rig) => {
    for (const [, , damage] of DAMAGES) await damage(rig);
    await checked(rig, { repair: true });
    const { registry } = rig.gc;
    assert.ok(whole);
    const target = `/v2/team/app/blobs/${digestOf(whole)}`;
    assert.deepEqual((await registry.ask(target)).body, whole);
    await pushAgain(rig);
    assert.deepEqual((await checked(rig)).counts, {});
  });
}

const DAMAGES: readonly [string, ProblemKind, (rig: CheckRig) => Promise<void>][] = [
  ['a blob whose bytes are gone', 'missing', (rig) => rig.lose(named(gone))],
  ['a blob cut short', 'short', (rig) => rig.replace(named(short), Buffer.from('cut'))],
  ['a flipped byte', 'corrupt', (rig) => rig.replace(named(flipped), Buffer.from('fl1pped'))],
  [
    'a blob with bytes behind it',
    'short',
    (rig) => rig.replace(named(extended), Buffer.from('extended further')),
  ],
  ['bytes that nobody knows', 'orphan', (rig) => rig.stray(Buffer.from('stray'))],
];

function named(bytes: Buffer | undefined): Digest {
  return digestOf(bytes ?? assert.fail());
}

function checked({ config }: CheckRig, { repair = false, later = false }: Wish = {}) {
  const now = () => Date.now() + (later ? UPLOAD_ORPHAN_MS + 1000 : 0);
  return checkHub(config, { hash: true, repair, now }, { signal });
}

/** As a client does that asks what is there. */
async function pushAgain({ gc }: CheckRig): Promise<void> {
  for (const layer of LAYERS) {
    if ((await gc.head(layer)) !== 200) await gc.registry.push(layer);
  }
  assert.equal((await gc.putManifest(imageOf(LAYERS))).status, 201);
}
