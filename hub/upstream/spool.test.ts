import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { SPOOL_SWEEP_MS } from './pull-constants.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { PendingBlob } from '../blobs/port.ts';
import { IngestBytes } from './ingest-bytes.ts';
import { SpoolFolder } from './spool.ts';

async function rig(t: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-spool-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const parked = new Set<string>();
  const clock = { ms: 0 };
  const spools = new SpoolFolder({ folder, now: () => clock.ms }, { known: async () => parked });
  return { folder, parked, clock, spools };
}

function unused(): Promise<never> {
  return Promise.reject(new Error('not called'));
}

async function nothing(): Promise<ReadonlySet<string>> {
  return new Set();
}

test('bytes of blobs that nobody goes on with go while the hub runs', async (t) => {
  const { folder, parked, clock, spools } = await rig(t);
  const [left = '', kept = '', running = '', last = ''] = Array.from({ length: 4 }, randomUUID);
  for (const id of [left, kept]) {
    parked.add(id);
    const spool = await spools.create(id, 0);
    await spool.append([Buffer.from('bytes')]);
    await spool.close({ keep: true });
  }
  const open = await spools.create(running, 0);
  parked.delete(left);
  clock.ms += SPOOL_SWEEP_MS;
  const next = await spools.create(last, 0);
  assert.deepEqual((await readdir(folder)).toSorted(), [kept, running, last].toSorted());
  await open.close({ keep: false });
  await next.close({ keep: false });
  assert.deepEqual(await readdir(folder), [kept]);
});

test('a blob that cannot be spooled is let go', async (t) => {
  const { folder } = await rig(t);
  const file = path.join(folder, 'file');
  await writeFile(file, '');
  const spools = new SpoolFolder({ folder: file, now: () => 0 }, { known: nothing });
  let released = 0;
  const pending: PendingBlob = {
    id: randomUUID(),
    size: 0,
    park: unused,
    append: unused,
    read: unused,
    commit: unused,
    discard: unused,
    release: async () => void (released += 1),
  };
  const blobs = { begin: unused, resume: async () => pending };
  const parked = { state: '', saved: Buffer.alloc(0) };
  const resumed = IngestBytes.resume(digestOf(Buffer.from('x')), parked, { blobs, spools });
  await assert.rejects(resumed, { code: 'STORE_IO' });
  assert.equal(released, 1);
});
