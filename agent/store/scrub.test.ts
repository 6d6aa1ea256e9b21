import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { BlobPaths } from './blob-paths.ts';
import { Scrubber } from './scrubber.ts';
import { SCRUB_BUSY_MS } from './constants.ts';
import { StoreFolder, readAll, sampleOf, writeChunks } from './test-store.ts';

const PERIOD_MS = 1_000_000;
const SCRUB = { periodMs: PERIOD_MS, rateBytes: 2 ** 40, isBusy: () => false };

async function rot(path: string, position: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.from('rotten'), 0, 6, position);
}

describe('the scrub of the store', () => {
  it('finds what rotted, drops only that, and counts it', async () => {
    await using folder = await StoreFolder.make();
    let nowMs = 5_000_000;
    const store = await folder.start({ scrub: SCRUB, now: () => nowMs });
    const { bytes, input } = sampleOf(6);
    const blob = await store.create(input);
    await writeChunks(blob, bytes, [0, 1, 2, 4, 6]);
    const [good, bad] = [randomBytes(500), randomBytes(600)];
    for (const small of [good, bad]) await store.putSmall(digestOf(small), small);
    const paths = new BlobPaths(folder.dataDir);
    await rot(join(paths.chunked(input.digest), 'data'), 2 * LEAF_BYTES + 9);
    await writeFile(paths.small(digestOf(bad)), randomBytes(600));
    await store.scrub();
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), 0, 'nothing is due yet');
    nowMs += PERIOD_MS;
    assert.equal(await folder.metric('store_scrub_oldest_check_seconds'), PERIOD_MS / 1000);
    const lost: number[] = [];
    using listening = blob.onChange((index) => void lost.push(index));
    void listening;
    await store.scrub();
    assert.deepEqual(lost, [2]);
    assert.deepEqual([...blob.have.present()], [0, 1, 4, 6]);
    assert.equal(store.stats().bytes, 3 * LEAF_BYTES + 17 + 500);
    assert.ok((await store.getSmall(digestOf(good)))?.equals(good));
    assert.equal(await folder.metric('store_scrub_damaged_chunks_total'), 2);
    const hashed = 4 * LEAF_BYTES + 17 + 500 + 600;
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), hashed);
    await store.scrub();
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), hashed, 'once in a period');
    assert.equal(await folder.metric('store_scrub_oldest_check_seconds'), 0);
  });

  it('goes on over restarts with what waits longest', async () => {
    await using folder = await StoreFolder.make();
    const [a, b] = [sampleOf(4), sampleOf(4)];
    const first = await folder.start({ scrub: SCRUB, now: () => 5_000_000 });
    await writeChunks(await first.create(a.input), a.bytes);
    await first.close();
    const later = { scrub: SCRUB, now: () => 5_000_000 + PERIOD_MS / 2 };
    const second = await folder.start(later);
    await writeChunks(await second.create(b.input), b.bytes);
    await second.close();
    const third = await folder.start({ scrub: SCRUB, now: () => 5_000_000 + PERIOD_MS });
    await third.scrub();
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), a.bytes.length);
    const blob = third.find(b.input.digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(b.bytes));
  });

  it('keeps nothing from eviction while it stands back', async () => {
    await using folder = await StoreFolder.make();
    const [old, fresh] = [sampleOf(4), sampleOf(4)];
    let nowMs = 5_000_000;
    const store = await folder.start({
      scrub: { ...SCRUB, isBusy: () => true },
      now: () => nowMs,
      quotaBytes: old.bytes.length,
    });
    await writeChunks(await store.create(old.input), old.bytes);
    nowMs += PERIOD_MS;
    const ended = assert.rejects(store.scrub(), /closing/);
    while ((await folder.metric('store_scrub_pauses_total')) === 0) await turnOfTheLoop();
    await store.create(fresh.input);
    assert.equal(store.find(old.input.digest), undefined);
    await store.close();
    await ended;
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), 0);
  });

  it('looks in a period at what was written while the clock was ahead', async () => {
    await using folder = await StoreFolder.make();
    const { bytes, input } = sampleOf(4);
    let nowMs = 5_000_000 + 100 * PERIOD_MS;
    const ahead = await folder.start({ scrub: SCRUB, now: () => nowMs });
    await writeChunks(await ahead.create(input), bytes);
    await ahead.close();
    nowMs = 5_000_000;
    const store = await folder.start({ scrub: SCRUB, now: () => nowMs });
    await store.scrub();
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), 0);
    nowMs += PERIOD_MS;
    await store.scrub();
    assert.equal(await folder.metric('store_scrubbed_bytes_total'), bytes.length);
  });

  it('keeps to its rate and stands back while the node is busy, a period at most', async () => {
    const slept: number[] = [];
    let nowMs = PERIOD_MS;
    const entry = {
      digest: digestOf(Buffer.alloc(9)),
      kind: 'small',
      bytes: 1_000,
      held: 1_000,
    } as const;
    const facts = { place: '', servable: false, pinned: false, known: true, leaving: false };
    await using folder = await StoreFolder.make();
    const rows = Array.from({ length: 10 }, () => ({
      ...entry,
      ...facts,
      usedMs: 0,
      checkedMs: 0,
    }));
    const scrubber = new Scrubber(
      { periodMs: PERIOD_MS, rateBytes: 500 },
      {
        index: {
          due: () => rows.splice(0),
          checked: () => {},
          lowerChecks: () => {},
        },
        holdings: {
          entry: () => undefined,
          drop: () => Promise.resolve(),
          bring: () => Promise.resolve(undefined),
        },
        small: { read: () => Promise.resolve(undefined) },
        metrics: folder.metrics,
        logger: folder.logger,
        now: () => nowMs,
        isBusy: () => true,
        sleep: (ms) => {
          slept.push(ms);
          nowMs += ms;
          return Promise.resolve();
        },
      },
    );
    await scrubber.round();
    const pauses = slept.filter((ms) => ms === SCRUB_BUSY_MS).length;
    assert.equal(pauses, PERIOD_MS / SCRUB_BUSY_MS, 'then it is overdue');
    assert.equal(await folder.metric('store_scrub_pauses_total'), pauses);
    // Ten entries of 1,000 bytes at 500 bytes a second; the last one is waited for by the next.
    const longest = Math.max(...slept.filter((ms) => ms !== SCRUB_BUSY_MS));
    assert.ok(longest > 9_000 && longest <= 18_000, `waited up to ${longest} ms`);
  });
});
