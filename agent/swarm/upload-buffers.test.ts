import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UPLOAD_BUFFER_BYTES, UPLOAD_LARGE_BUFFERS_MAX } from './constants.ts';
import { UploadBuffers } from './upload-buffers.ts';
import { UploadSlots } from './upload-slots.ts';

const UPLOADS = 64;

test('however many uploads there are, only so many have large buffers', async () => {
  const slots = new UploadSlots({ uploads: UPLOADS });
  const sizes = async (): Promise<number> => {
    using all = new DisposableStack();
    let large = 0;
    for (let count = 0; count < UPLOADS; count++) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const slot = all.use(await slots.acquire(`peer-${count}`, 4 * UPLOAD_BUFFER_BYTES));
      assert.ok(slot);
      const pair = [slot.buffer(0, UPLOAD_BUFFER_BYTES), slot.buffer(1, UPLOAD_BUFFER_BYTES)];
      assert.equal(slot.buffer(2, UPLOAD_BUFFER_BYTES), pair[0], 'two buffers in turns');
      large += pair.filter(({ length }) => length === UPLOAD_BUFFER_BYTES).length;
    }
    return large;
  };
  assert.equal(await sizes(), UPLOAD_LARGE_BUFFERS_MAX);
  assert.equal(await sizes(), UPLOAD_LARGE_BUFFERS_MAX, 'those that came back are lent again');
});

test('buffers that nobody took from one rest to the next are let go', () => {
  const buffers = new UploadBuffers();
  const first = buffers.take(UPLOAD_BUFFER_BYTES);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(buffers.bytesKept, UPLOAD_BUFFER_BYTES);
  buffers.rest();
  const again = buffers.take(UPLOAD_BUFFER_BYTES);
  assert.equal(again.bytes, first.bytes);
  again[Symbol.dispose]();
  buffers.rest();
  assert.equal(buffers.bytesKept, UPLOAD_BUFFER_BYTES);
  buffers.rest();
  assert.equal(buffers.bytesKept, 0);
});
