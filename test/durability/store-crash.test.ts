import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { BlobPaths, CHUNKED, INDEX_FILE, SMALL } from '../../agent/store/blob-paths.ts';
import type { FsContentStore } from '../../agent/store/content-store.ts';
import { chunkRange } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import {
  CHURN_BLOBS,
  CHURN_QUOTA,
  CHURN_SMALL,
  churnBytes,
  churnInput,
  churnSmall,
  churnStore,
} from '../rig/churn.ts';
import { start } from '../rig/processes.ts';

const FULL = process.env['FLOTILLA_TEST_SCALE'] === 'full';
const ROUNDS = FULL ? 60 : 5;
const STEPS_MAX = 60;
const START_TIMEOUT_MS = 60_000;
const MAIN = path.join(import.meta.dirname, '..', 'rig', 'churn-main.ts');

async function churnAndKill(dataDir: string, round: number): Promise<void> {
  const child = start([process.execPath, MAIN, dataDir, String(round * 7919 + 1)], {
    name: 'churn',
  });
  const steps = 1 + ((round * 37) % STEPS_MAX);
  try {
    await child.waitForOutput(new RegExp(`step ${steps}\n`), START_TIMEOUT_MS);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal((await child.exited).signal, 'SIGKILL', child.output());
  // A whole blob takes the place of one that is half written.
  assert.doesNotMatch(child.output(), /refused (?!StoreError: (?:no room|\S+ was evicted))/);
}

/** Every chunk that is said to be there is, and nothing is counted that is not. */
async function checkContent(store: FsContentStore): Promise<void> {
  let [reserved, held, entries] = [0, 0, 0];
  for (let n = 0; n < CHURN_BLOBS; n += 1) {
    const blob = store.find(churnInput(n).digest);
    if (blob === undefined) continue;
    entries += 1;
    reserved += blob.size;
    const bytes = churnBytes(n);
    for (const index of blob.have.present()) {
      const { start: from, end } = chunkRange(blob.layout, index);
      const into = Buffer.alloc(end - from);
      // oxlint-disable-next-line no-await-in-loop -- one chunk after the other
      await blob.read(into, from);
      assert.ok(into.equals(bytes.subarray(from, end)));
      held += into.length;
    }
  }
  for (let n = 0; n < CHURN_SMALL; n += 1) {
    const small = churnSmall(n);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const found = await store.getSmall(digestOf(small));
    if (found === undefined) continue;
    assert.ok(found.equals(small));
    [entries, reserved, held] = [entries + 1, reserved + small.length, held + small.length];
  }
  const stats = store.stats();
  assert.ok(stats.reservedBytes <= CHURN_QUOTA);
  assert.deepEqual([stats.blobs, stats.reservedBytes, stats.bytes], [entries, reserved, held]);
}

/** Names of all files and folders of entries on disk. */
async function namesOnDisk(dataDir: string): Promise<number> {
  let count = 0;
  for (const room of [CHUNKED, SMALL]) {
    const entries = await readdir(path.join(dataDir, room), { recursive: true }).catch(() => []);
    count += entries.filter((name) => /^sha256\/..\/[0-9a-f]{64}$/.test(name)).length;
  }
  return count;
}

test('a store killed at any moment has what its index says, and nothing else', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-churn-'));
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      await churnAndKill(dataDir, round);
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      const { store, registry } = await churnStore(dataDir);
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      await store.settled();
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      await checkContent(store);
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      assert.match(await registry.text(), /store_index_rebuilds_total 0/, 'the index is believed');
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      await store.close();
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      assert.equal(await namesOnDisk(dataDir), await rowsOf(dataDir));
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

async function rowsOf(dataDir: string): Promise<number> {
  const { DatabaseSync } = await import('node:sqlite');
  using database = new DatabaseSync(path.join(new BlobPaths(dataDir).root, INDEX_FILE));
  return Number(database.prepare('SELECT count(*) AS n FROM entry').get()?.['n']);
}
