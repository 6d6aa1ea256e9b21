import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { LEAF_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { placeOf } from './pins.ts';
import type { CreateBlob } from './port.ts';
import { ORIGIN, StoreFolder, sampleOf } from './test-store.ts';
import type { Sample } from './test-store.ts';

const BLOB_BYTES = sampleOf(4).bytes.length;
const PINNED = { namespace: 'docker.io', repository: 'library/base' };
const PINS = { digests: new Set<never>(), places: new Set([placeOf(PINNED)]) };

/** A blob of the size of so many samples, of which no byte will ever come. */
function roomFor(blobs: number): CreateBlob {
  const size = blobs * BLOB_BYTES;
  const hashes = randomBytes(layoutOf(size).chunkCount * HASH_BYTES);
  return { digest: digestOf(randomBytes(8)), size, hashes, statement: Buffer.of(1) };
}

function samples(count: number): Sample[] {
  return Array.from({ length: count }, () => sampleOf(4));
}

describe('the quota of the store', () => {
  it('is lowered to the low water once the high water is passed', async () => {
    await using folder = await StoreFolder.make();
    const marks = { highWater: 0.75, lowWater: 0.4 };
    const store = await folder.start({ quotaBytes: 10 * BLOB_BYTES, ...marks });
    const [last, ...others] = samples(8);
    for (const { input } of others) {
      await store.create(input);
      await turnOfTheLoop();
    }
    assert.equal(store.stats().blobs, 7, 'up to the high water all stay');
    assert.ok(last);
    await store.create(last.input);
    await store.settled();
    assert.equal(store.stats().blobs, 4);
    assert.ok(store.find(last.input.digest), 'the newest is in use and stays');
    const left = others.map(({ input }) => store.find(input.digest) !== undefined);
    assert.deepEqual(left, [false, false, false, false, true, true, true]);
  });

  it('tells what stays below the high water beside what is in use and pinned', async () => {
    await using folder = await StoreFolder.make();
    const options = { quotaBytes: 10 * BLOB_BYTES, highWater: 0.8, pins: PINS };
    const store = await folder.start(options);
    const [pinned, used, cold] = samples(3);
    assert.ok(pinned && used && cold);
    await store.create({ ...pinned.input, origin: PINNED });
    using kept = (await store.create(used.input)).retain();
    void kept;
    await store.create(cold.input);
    await turnOfTheLoop();
    assert.equal(store.hasRoomFor(5 * BLOB_BYTES), true, 'with nothing evicted');
    assert.equal(store.hasRoomFor(6 * BLOB_BYTES), true, 'in the place of what is cold');
    assert.equal(store.hasRoomFor(6 * BLOB_BYTES + 1), false);
    assert.equal(store.hasRoomFor(100 * BLOB_BYTES), false);
    assert.equal(store.stats().blobs, 3, 'and nothing goes by being asked');
  });

  it('never takes a blob that was found and kept while others were being deleted', async () => {
    await using folder = await StoreFolder.make();
    const store = await folder.start({ quotaBytes: 40 * BLOB_BYTES, highWater: 1 });
    const old = Array.from({ length: 40 }, () => roomFor(1));
    for (const input of old) {
      await store.create(input);
      await turnOfTheLoop();
    }
    const isAbout = ({ digest }: { digest: Digest }): boolean => store.find(digest) !== undefined;
    const coming = store.create(roomFor(39));
    while (old.every(isAbout)) await turnOfTheLoop();
    const found = old.flatMap(({ digest }) => store.find(digest) ?? []);
    using kept = new DisposableStack();
    for (const blob of found) kept.use(blob.retain());
    await coming;
    await store.settled();
    for (const { digest } of found) assert.ok(store.find(digest), 'what was kept is there');
  });

  it('never takes what is pinned, under whichever name it was asked for first', async () => {
    await using folder = await StoreFolder.make();
    const options = { quotaBytes: 3 * BLOB_BYTES + 5_000, highWater: 1, pins: PINS };
    const store = await folder.start(options);
    const [named, claimed, first, second] = samples(4);
    assert.ok(named !== undefined && claimed !== undefined);
    assert.ok(first !== undefined && second !== undefined);
    const small = randomBytes(100);
    await store.putSmall(digestOf(small), small, PINNED);
    await store.create({ ...named.input, origin: PINNED });
    await store.create(claimed.input);
    store.claim(claimed.input.digest, ORIGIN);
    store.claim(claimed.input.digest, PINNED);
    assert.equal(store.stats().pinnedBytes, 2 * BLOB_BYTES + small.length);
    for (const { input } of [first, second]) {
      await turnOfTheLoop();
      await store.create(input);
    }
    assert.equal(store.find(first.input.digest), undefined);
    const hold = store.find(second.input.digest)?.retain();
    const refused = store.create(sampleOf(4).input);
    await assert.rejects(refused, (err) => hasCode(err, 'STORE_FULL'));
    hold?.[Symbol.dispose]();
    assert.ok(store.find(named.input.digest) && store.find(claimed.input.digest));
    assert.ok((await store.getSmall(digestOf(small)))?.equals(small));
  });

  it('keeps what is pinned when its statement comes later, under another name', async () => {
    await using folder = await StoreFolder.make();
    const store = await folder.start({ pins: PINS });
    const { bytes, input } = sampleOf(4);
    const spool = await store.spool({ ...input, origin: ORIGIN });
    await spool.append(bytes);
    await spool.commit(input);
    store.claim(input.digest, PINNED);
    await store.create(input);
    assert.equal(store.stats().pinnedBytes, BLOB_BYTES);
  });

  it('takes what is pinned no more after the configuration says so', async () => {
    await using folder = await StoreFolder.make();
    const options = { quotaBytes: BLOB_BYTES, highWater: 1 };
    const [old, fresh] = samples(2);
    assert.ok(old !== undefined && fresh !== undefined);
    const first = await folder.start({ ...options, pins: PINS });
    await first.create({ ...old.input, origin: PINNED });
    await turnOfTheLoop();
    await assert.rejects(first.create(fresh.input), (err) => hasCode(err, 'STORE_FULL'));
    await first.close();
    const second = await folder.start(options);
    assert.equal(second.stats().pinnedBytes, 0);
    await second.create(fresh.input);
    await turnOfTheLoop();
    await second.close();
    const pins = { digests: new Set([fresh.input.digest]), places: new Set<string>() };
    const third = await folder.start({ ...options, pins });
    assert.equal(third.stats().pinnedBytes, BLOB_BYTES);
    await assert.rejects(third.create(old.input), (err) => hasCode(err, 'STORE_FULL'));
  });

  it('that became smaller is held from the start', async () => {
    await using folder = await StoreFolder.make();
    const first = await folder.start({ quotaBytes: 10 * LEAF_BYTES + 100 });
    for (const { input } of samples(2)) await first.create(input);
    await first.close();
    const second = await folder.start({ quotaBytes: 5 * LEAF_BYTES });
    assert.equal(second.stats().blobs, 1);
  });

  it('holds for the number of entries, too', async () => {
    await using folder = await StoreFolder.make();
    const store = await folder.start({ entriesMax: 3 });
    const smalls = Array.from({ length: 5 }, () => randomBytes(10));
    for (const bytes of smalls) await store.putSmall(digestOf(bytes), bytes);
    assert.equal(store.stats().blobs, 3);
    assert.equal(await store.getSmall(digestOf(smalls[1] ?? randomBytes(1))), undefined);
    assert.ok(await store.getSmall(digestOf(smalls[4] ?? randomBytes(1))));
  });
});
