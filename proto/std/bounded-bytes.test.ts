import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { boundedBytes } from './bounded-bytes.ts';

test('a body of up to the bound is whole', async () => {
  const parts = ['ab', '', 'c'].map((text) => Buffer.from(text));
  assert.equal((await boundedBytes(Readable.from(parts), 3)).toString(), 'abc');
  assert.equal((await boundedBytes(Readable.from([]), 0)).length, 0);
});

test('an endless body is cut off one part beyond the bound', async () => {
  let given = 0;
  const endless = Readable.from(
    (function* () {
      for (;;) {
        given += 1;
        yield Buffer.alloc(10);
      }
    })(),
    { highWaterMark: 1 },
  );
  await assert.rejects(
    boundedBytes(endless, 25, () => new RangeError('too much')),
    RangeError,
  );
  assert.ok(endless.destroyed);
  assert.ok(given < 10, `${given} parts were taken`);
});
