// What every blob store must do, wherever it keeps the bytes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { WRITE_SLICES_MAX } from './constants.ts';
import type { BlobReader, BlobStore } from './port.ts';

/** One storage place, empty at first. */
export interface BlobStoreRig extends AsyncDisposable {
  readonly store: BlobStore;
  /** The same place seen by a new process: the store of the old one was never closed. */
  reopen(): Promise<BlobStore>;
  /** Each blob in the making that takes up room in the place. */
  leftovers(): Promise<string[]>;
}

export const PENDING_MAX_OF_RIG = 8;
const HOUR_MS = 60 * 60_000;

type Check = (promise: string, run: (rig: BlobStoreRig) => Promise<void>) => void;

function coded(code: string): (err: unknown) => boolean {
  return (err) => hasCode(err, code) && err instanceof Error && err.message.length > 0;
}

/** Stores bytes in slices cut at these offsets; their digest. */
export async function storeBlob(
  store: BlobStore,
  bytes: Buffer,
  cuts: readonly number[] = [],
): Promise<Digest> {
  const pending = await store.begin();
  const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
  const slices = edges.slice(1).map((edge, i) => bytes.subarray(edges[i], edge));
  const digest = digestOf(bytes);
  try {
    await pending.append(slices);
    await pending.commit(digest);
  } finally {
    await pending.discard();
  }
  return digest;
}

/** The whole blob as `open` gives it; undefined when there is none. */
export async function readBlob(store: BlobReader, digest: Digest): Promise<Buffer | undefined> {
  const blob = await store.open(digest);
  if (blob === undefined) return undefined;
  await using opened = blob;
  const bytes = Buffer.alloc(opened.size + 1);
  return bytes.subarray(0, await opened.read(bytes, 0));
}

async function assertAbsent(store: BlobStore, digest: Digest): Promise<void> {
  assert.equal(await store.stat(digest), undefined);
  assert.equal(await store.open(digest), undefined);
  assert.equal(await store.remove(digest), false);
}

/**
 * Registers the tests. `createRig` makes a store for PENDING_MAX_OF_RIG blobs in the making. `skip`
 * says what the machine lacks for it.
 */
export function blobStoreConformance(
  name: string,
  createRig: () => Promise<BlobStoreRig>,
  { skip = false }: { skip?: string | false } = {},
): void {
  const check: Check = (promise, run) => {
    test(`${name}: ${promise}`, { skip }, async () => {
      await using rig = await createRig();
      await run(rig);
    });
  };
  checkBytes(check);
  checkReads(check);
  checkPending(check);
  checkLives(check);
  checkResumption(check);
  checkCommits(check);
  checkRemoval(check);
}

function checkBytes(check: Check): void {
  check('bytes come back whole, however they were sliced and batched', async ({ store }) => {
    const batches = fc.array(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), {
      maxLength: 6,
    });
    const property = fc.asyncProperty(batches, async (sent) => {
      const pending = await store.begin();
      let size = 0;
      for (const slices of sent) {
        // oxlint-disable-next-line no-await-in-loop -- calls do not overlap
        await pending.append(slices);
        size += slices.reduce((sum, slice) => sum + slice.length, 0);
        assert.equal(pending.size, size);
      }
      const bytes = Buffer.concat(sent.flat());
      const digest = digestOf(bytes);
      await pending.commit(digest);
      assert.deepEqual(await store.stat(digest), { size });
      assert.deepEqual(await readBlob(store, digest), bytes);
    });
    await fc.assert(property, { numRuns: 40 });
  });

  check('a blob of no bytes is a blob', async ({ store }) => {
    const digest = await storeBlob(store, Buffer.alloc(0));
    assert.deepEqual(await store.stat(digest), { size: 0 });
    assert.deepEqual(await readBlob(store, digest), Buffer.alloc(0));
  });

  check('more slices than the system takes at once arrive in order', async ({ store }) => {
    const bytes = randomBytes(3 * WRITE_SLICES_MAX + 1);
    const digest = await storeBlob(
      store,
      bytes,
      Array.from({ length: bytes.length - 1 }, (_, i) => i + 1),
    );
    assert.deepEqual(await readBlob(store, digest), bytes);
  });

  check('slices may be reused once they were taken', async ({ store }) => {
    const pending = await store.begin();
    const slice = Buffer.alloc(1000, 1);
    await pending.append([slice]);
    slice.fill(2);
    await pending.append([slice]);
    const bytes = Buffer.concat([Buffer.alloc(1000, 1), Buffer.alloc(1000, 2)]);
    await pending.commit(digestOf(bytes));
    assert.deepEqual(await readBlob(store, digestOf(bytes)), bytes);
  });
}

function checkReads(check: Check): void {
  check('any range reads as the bytes there, short only at the end', async ({ store }) => {
    const bytes = randomBytes(5000);
    const digest = await storeBlob(store, bytes, [1, 4096]);
    await using blob = await store.open(digest);
    assert.ok(blob);
    assert.equal(blob.size, bytes.length);
    const place = fc.nat(bytes.length + 10);
    const property = fc.asyncProperty(place, place, async (position, length) => {
      const into = Buffer.alloc(length);
      const got = await blob.read(into, position);
      assert.equal(got, Math.max(0, Math.min(length, bytes.length - position)));
      assert.deepEqual(into.subarray(0, got), bytes.subarray(position, position + got));
    });
    await fc.assert(property, { numRuns: 60 });
  });

  check('both digest algorithms name blobs, and apart from each other', async ({ store }) => {
    const bytes = randomBytes(100);
    const long = digestOf(bytes, 'sha512');
    await storeBlob(store, bytes);
    assert.equal(await store.stat(long), undefined);
    const pending = await store.begin();
    await pending.append([bytes]);
    await pending.commit(long);
    assert.deepEqual(await readBlob(store, long), bytes);
  });
}

function checkPending(check: Check): void {
  check('nothing is visible before its commit, nor after a discard', async (rig) => {
    const bytes = randomBytes(5000);
    const pending = await rig.store.begin();
    await pending.append([bytes]);
    await assertAbsent(rig.store, digestOf(bytes));
    const back = Buffer.alloc(10);
    assert.equal(await pending.read(back, 100), 10);
    assert.deepEqual(back, bytes.subarray(100, 110));
    await pending.discard();
    await pending.discard();
    await assertAbsent(rig.store, digestOf(bytes));
    assert.deepEqual(await rig.leftovers(), []);
  });

  check('what was committed or discarded takes no more calls', async ({ store }) => {
    const bytes = randomBytes(10);
    const [committed, discarded] = [await store.begin(), await store.begin()];
    await committed.append([bytes]);
    await committed.commit(digestOf(bytes));
    await discarded.discard();
    for (const pending of [committed, discarded]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await assert.rejects(pending.append([bytes]), coded('PENDING_CLOSED'));
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await assert.rejects(pending.commit(digestOf(bytes)), coded('PENDING_CLOSED'));
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pending.discard();
    }
    assert.deepEqual(await readBlob(store, digestOf(bytes)), bytes);
  });

  check('blobs in the making are bounded, also when begun all at once', async ({ store }) => {
    const count = PENDING_MAX_OF_RIG + 3;
    const begun = await Promise.allSettled(Array.from({ length: count }, () => store.begin()));
    const made = begun.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const refused = begun.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    assert.equal(made.length, PENDING_MAX_OF_RIG);
    assert.ok(refused.every(coded('PENDING_LIMIT')), String(refused));
    await made[0]?.discard();
    await made[1]?.commit(digestOf(Buffer.alloc(0)));
    const [again, more] = [await store.begin(), await store.begin()];
    await assert.rejects(store.begin(), coded('PENDING_LIMIT'));
    assert.notEqual(again.id, more.id);
  });
}

function checkLives(check: Check): void {
  check('what a killed process left is removed, unless somebody goes on with it', async (rig) => {
    const digest = await storeBlob(rig.store, randomBytes(20));
    const [kept, left] = [await rig.store.begin(), await rig.store.begin()];
    for (const pending of [kept, left]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pending.append([randomBytes(20)]);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pending.park();
    }
    const store = await rig.reopen();
    const known = async (ids: readonly string[]) => new Set(ids.filter((id) => id === kept.id));
    assert.equal(await store.sweep({ beforeMs: Date.now() - HOUR_MS, known }), 0);
    assert.equal((await rig.leftovers()).length, 2);
    assert.equal(await store.sweep({ beforeMs: Date.now() + HOUR_MS, known }), 1);
    assert.equal((await rig.leftovers()).length, 1);
    assert.ok(await store.resume(await kept.park()));
    assert.equal(await store.resume(await left.park()), undefined);
    await store.sweep({ beforeMs: Date.now() + HOUR_MS, known: async () => new Set() });
    assert.equal((await rig.leftovers()).length, 1, 'one who writes is not disturbed');
    assert.deepEqual(await store.stat(digest), { size: 20 });
  });

  check('closing keeps what was parked and drops nothing else', async (rig) => {
    const digest = await storeBlob(rig.store, randomBytes(20));
    const pending = await rig.store.begin();
    await pending.append([Buffer.from('parked')]);
    const state = await pending.park();
    await rig.store.close();
    await assert.rejects(pending.append([randomBytes(1)]), coded('PENDING_CLOSED'));
    const store = await rig.reopen();
    assert.deepEqual(await store.stat(digest), { size: 20 });
    assert.equal((await store.resume(state))?.size, 6);
  });
}

function checkResumption(check: Check): void {
  check('a blob in the making goes on in another process where it was parked', async (rig) => {
    const cuts = fc.array(fc.nat(5_000), { maxLength: 4 });
    const property = fc.asyncProperty(cuts, async (sizes) => {
      const parts = sizes.map((size) => randomBytes(size));
      let store = await rig.reopen();
      let pending = await store.begin();
      const { id } = pending;
      for (const part of parts) {
        // oxlint-disable-next-line no-await-in-loop -- one life after the other
        await pending.append([part]);
        // oxlint-disable-next-line no-await-in-loop -- one life after the other
        const state = await pending.park();
        // oxlint-disable-next-line no-await-in-loop -- bytes that nobody was told are kept
        await pending.append([Buffer.from('after')]);
        // oxlint-disable-next-line no-await-in-loop -- one life after the other
        store = await rig.reopen();
        // oxlint-disable-next-line no-await-in-loop -- one life after the other
        const resumed = await store.resume(state);
        assert.ok(resumed);
        pending = resumed;
      }
      const bytes = Buffer.concat(parts);
      assert.deepEqual({ id: pending.id, size: pending.size }, { id, size: bytes.length });
      const back = Buffer.alloc(bytes.length + 1);
      assert.equal(await pending.read(back, 0), bytes.length);
      assert.deepEqual(back.subarray(0, -1), bytes);
      await pending.commit(digestOf(bytes));
      assert.deepEqual(await readBlob(store, digestOf(bytes)), bytes);
    });
    await fc.assert(property, { numRuns: 12 });
  });

  check('released and taken up again in one process, nothing is lost', async ({ store }) => {
    const pending = await store.begin();
    await pending.append([Buffer.from('one ')]);
    const state = await pending.park();
    await pending.release();
    await pending.release();
    await pending.discard();
    await assert.rejects(pending.append([randomBytes(1)]), coded('PENDING_CLOSED'));
    const again = await store.resume(state);
    await again?.append([Buffer.from('two')]);
    await again?.commit(digestOf(Buffer.from('one two')));
    assert.deepEqual(await store.stat(digestOf(Buffer.from('one two'))), { size: 7 });
  });

  check('nothing goes on from what is finished, gone or was never written', async (rig) => {
    const bytes = randomBytes(100);
    const states = ['', '{}', 'null', '{"id":"../../blobs","size":0}', '{"id":7,"size":-1}'];
    for (const end of ['commit', 'discard'] as const) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const pending = await rig.store.begin();
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pending.append([bytes]);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      states.push(await pending.park());
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await (end === 'commit' ? pending.commit(digestOf(bytes)) : pending.discard());
    }
    for (const state of states) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      assert.equal(await rig.store.resume(state), undefined, state);
    }
    assert.deepEqual(await readBlob(rig.store, digestOf(bytes)), bytes);
  });
}

function checkCommits(check: Check): void {
  check('one blob stored many times at once is there once, whole', async (rig) => {
    const bytes = randomBytes(3000);
    const all = Array.from({ length: PENDING_MAX_OF_RIG }, (_, i) =>
      storeBlob(rig.store, bytes, [i * 100]),
    );
    const digests = new Set(await Promise.all(all));
    assert.deepEqual(digests, new Set([digestOf(bytes)]));
    assert.deepEqual(await readBlob(rig.store, digestOf(bytes)), bytes);
    assert.deepEqual(await rig.leftovers(), []);
  });

  check('many blobs at once are each there', async ({ store }) => {
    const blobs = Array.from({ length: PENDING_MAX_OF_RIG }, (_, i) => randomBytes(100 + i));
    const digests = await Promise.all(blobs.map((bytes) => storeBlob(store, bytes)));
    const read = await Promise.all(digests.map((digest) => readBlob(store, digest)));
    assert.deepEqual(read, blobs);
  });

  check('a commit of a stored blob does not disturb its reader', async ({ store }) => {
    const bytes = randomBytes(3000);
    const digest = await storeBlob(store, bytes);
    await using blob = await store.open(digest);
    await storeBlob(store, bytes);
    const into = Buffer.alloc(bytes.length);
    assert.equal(await blob?.read(into, 0), bytes.length);
    assert.deepEqual(into, bytes);
    assert.deepEqual(await readBlob(store, digest), bytes);
  });

  check('a new process reads what an earlier one committed', async (rig) => {
    const bytes = randomBytes(3000);
    const digest = await storeBlob(rig.store, bytes);
    assert.deepEqual(await readBlob(await rig.reopen(), digest), bytes);
  });
}

function checkRemoval(check: Check): void {
  check('an unknown blob is absent, not an error', async ({ store }) => {
    await assertAbsent(store, digestOf(randomBytes(8)));
  });

  check('a reader reads on while the blob is removed; then it is absent', async (rig) => {
    const bytes = randomBytes(3000);
    const digest = await storeBlob(rig.store, bytes);
    await using blob = await rig.store.open(digest);
    const into = Buffer.alloc(1000);
    assert.equal(await blob?.read(into, 0), 1000);
    assert.equal(await rig.store.remove(digest), true);
    assert.equal(await blob?.read(into, 1000), 1000);
    assert.deepEqual(into, bytes.subarray(1000, 2000));
    await assertAbsent(rig.store, digest);
    assert.equal(await storeBlob(rig.store, bytes), digest);
    assert.deepEqual(await readBlob(rig.store, digest), bytes);
  });

  check('bytes are removed by the name they had, and no others', async ({ store }) => {
    const bytes = randomBytes(10);
    const digest = await storeBlob(store, bytes);
    const name = await store.nameOf?.(digest);
    if (name === undefined) return;
    await store.remove(digest);
    await storeBlob(store, bytes);
    assert.equal(await store.remove(digest, name), false);
    assert.deepEqual(await readBlob(store, digest), bytes);
    assert.equal(await store.remove(digest, await store.nameOf?.(digest)), true);
  });

  check('of many who remove a blob at once, one did', async ({ store }) => {
    const digest = await storeBlob(store, randomBytes(10));
    const done = await Promise.all(Array.from({ length: 5 }, () => store.remove(digest)));
    assert.equal(done.filter(Boolean).length, 1);
  });
}
