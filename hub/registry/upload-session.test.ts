import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import { MemoryDisk } from '../blobs/memory-disk.ts';
import { UPLOAD_BATCH_BYTES, UPLOAD_SLICE_BYTES } from './constants.ts';
import { UploadSession } from './upload-session.ts';

test('bytes that come one by one are not gathered without end', async (t) => {
  const files = new MemoryDisk();
  const pending = await (await FilesystemBlobStore.open({ root: '/data' }, { files })).begin();
  const append = pending.append.bind(pending);
  let most = 0;
  t.mock.method(pending, 'append', (slices: readonly Uint8Array[]) => {
    most = Math.max(most, slices.length);
    return append(slices);
  });
  const whole = Buffer.from('slow client '.repeat(1000));
  async function* source() {
    for (const byte of whole) yield Buffer.allocUnsafeSlow(1).fill(byte);
  }
  const session = new UploadSession(pending);
  await session.append(source(), () => {});
  assert.ok(most <= UPLOAD_BATCH_BYTES / UPLOAD_SLICE_BYTES, `${most} pieces in memory`);
  const digest = digestOf(whole);
  assert.equal((await session.commit(digest, async () => Buffer.alloc(0))).digest, digest);
});
