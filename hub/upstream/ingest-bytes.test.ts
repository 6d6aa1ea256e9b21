import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { PendingBlob } from '../blobs/port.ts';
import { IngestBytes } from './ingest-bytes.ts';
import { Ingest } from './ingest.ts';
import { READ_STALL_MS } from './pull-constants.ts';
import { bytesOf } from './pull-fixture.ts';
import { SpoolFolder } from './spool.ts';
import { Wish } from './wish.ts';

const LEAVES = 5;
const BYTES = bytesOf(LEAVES * LEAF_BYTES);
const DIGEST = digestOf(BYTES);

const known = async (): Promise<Set<string>> => new Set();

/** All bytes of a blob in a store that cannot be read beside; `read` is called for each piece. */
function parked(onRead: () => Promise<void>): PendingBlob {
  return {
    id: '00000000-0000-4000-8000-000000000000',
    size: BYTES.length,
    park: async () => '{}',
    append: async () => {},
    read: async (into, position) => {
      await onRead();
      return BYTES.copy(into, 0, position);
    },
    commit: async () => {},
    discard: async () => {},
    release: async () => {},
  };
}

async function resumed(t: TestContext, onRead: () => Promise<void>): Promise<IngestBytes> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-ingest-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const spools = new SpoolFolder({ folder, now: Date.now }, { known });
  const pending = parked(onRead);
  const blobs = { begin: async () => pending, resume: async () => pending };
  const hasher = new ContentHasher();
  hasher.update(BYTES);
  const saved = hasher.leavesFrom(0);
  const bytes = await IngestBytes.resume(DIGEST, { state: '{}', saved }, { blobs, spools });
  assert.ok(bytes);
  t.after(() => bytes.discard());
  return bytes;
}

test('who waits for a blob is kept while all of it is read back, however long', async (t) => {
  const bytes = await resumed(t, async () => {
    // Readers have heard of the piece before.
    await turn();
    t.mock.timers.tick(READ_STALL_MS - 1);
  });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const stored = {
    size: BYTES.length,
    read: async (into: Uint8Array, at: number) => BYTES.copy(into, 0, at),
    [Symbol.asyncDispose]: async () => {},
  };
  const ingest = new Ingest(
    { digest: DIGEST, size: BYTES.length, provisional: 'readers', wish: new Wish() },
    { bytes, blobs: { open: async () => stored } },
  );
  await using reader = await ingest.open({});
  const read = reader.read(Buffer.alloc(100), 0);
  assert.notEqual(await bytes.check({ onBytes: () => ingest.grew() }), 'wrong');
  ingest.finish('stored');
  assert.equal(await read, 100);
});
