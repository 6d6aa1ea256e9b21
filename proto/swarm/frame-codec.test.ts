import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { encodeFrame, FrameReader } from './frame-codec.ts';

const MAX_BYTES = 5000;

function cutUp(stream: Buffer, cuts: number[]): Buffer[] {
  const slices: Buffer[] = [];
  for (let at = 0, i = 0; at < stream.length; i++) {
    const step = cuts[i % cuts.length] ?? 1;
    slices.push(stream.subarray(at, at + step));
    at += step;
  }
  return slices;
}

const FRAMES = fc.array(
  fc.uint8Array({ maxLength: MAX_BYTES, size: 'max' }).map((bytes) => Buffer.from(bytes)),
  { maxLength: 8 },
);
const CUTS = fc.array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6000 })), {
  minLength: 1,
  maxLength: 10,
});

test('frames come out whole and in order, whatever the slicing of the stream', () => {
  fc.assert(
    fc.property(FRAMES, CUTS, (frames, cuts) => {
      const reader = new FrameReader({ maxBytes: MAX_BYTES });
      const found: Buffer[] = [];
      for (const slice of cutUp(Buffer.concat(frames.map(encodeFrame)), cuts)) {
        reader.push(slice);
        for (let f = reader.readFrame(); f !== undefined; f = reader.readFrame()) {
          found.push(Buffer.from(f));
        }
      }
      assert.deepEqual(found, frames);
      assert.ok(reader.idle);
    }),
  );
});

test('raw bytes between two frames come out unchanged, whatever the slicing', () => {
  const body = fc.uint8Array({ maxLength: 9000, size: 'max' }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(body, CUTS, fc.integer({ min: 1, max: 3000 }), (raw, cuts, readMax) => {
      const reader = new FrameReader({ maxBytes: 100 });
      const [head, tail] = [Buffer.from('head'), Buffer.from('tail')];
      const stream = Buffer.concat([encodeFrame(head), raw, encodeFrame(tail)]);
      const frames: string[] = [];
      const parts: Buffer[] = [];
      let left = 0;
      for (const slice of cutUp(stream, cuts)) {
        reader.push(slice);
        for (;;) {
          const part = left > 0 ? reader.readRaw(Math.min(left, readMax)) : reader.readFrame();
          if (part === undefined) break;
          if (left > 0) parts.push(Buffer.from(part));
          else frames.push(Buffer.from(part).toString());
          left = left > 0 ? left - part.length : frames.length === 1 ? raw.length : 0;
        }
      }
      assert.deepEqual(frames, ['head', 'tail']);
      assert.deepEqual(Buffer.concat(parts), raw);
    }),
  );
});

test('a claimed length above the limit is refused before any byte of the frame arrives', () => {
  const claims = [[0xff, 0xff, 0xff, 0xff, 0x0f], [0x89, 0x27], encodeFrame(randomBytes(5001))];
  for (const claim of claims) {
    const reader = new FrameReader({ maxBytes: MAX_BYTES });
    reader.push(Buffer.from(claim));
    assert.throws(() => reader.readFrame(), { name: 'SwarmError', code: 'FRAME_TOO_LARGE' });
  }
});

test('a length longer than five bytes or padded with zeros is refused', () => {
  for (const claim of [
    Array<number>(10).fill(0xff),
    [0x81, 0x00],
    [0x80, 0x80, 0x80, 0x80, 0x80],
  ]) {
    const reader = new FrameReader({ maxBytes: MAX_BYTES });
    reader.push(Buffer.from(claim));
    assert.throws(() => reader.readFrame(), { name: 'SwarmError', code: 'FRAME_MALFORMED' });
  }
});

test('a sender that claims a large frame and sends little makes us hold little', () => {
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 500 }, () => {
    const reader = new FrameReader({ maxBytes: 1_048_576 });
    reader.push(Buffer.of(0x80, 0x80, 0x40, 1, 2, 3));
    assert.equal(reader.readFrame(), undefined);
    return reader;
  });
  const heldBytes = process.memoryUsage().arrayBuffers - before;
  // Each claim of 1 MiB may cost a block, but nothing like 500 MiB in all.
  const held = readers.reduce((sum, reader) => sum + reader.buffered, 0);
  assert.ok(held < 5000 && heldBytes < 64 * 1_048_576, `${held} ${heldBytes}`);
});

test('unread bytes have a limit, in slices of any size', () => {
  for (const slice of [Buffer.alloc(1), Buffer.alloc(700), Buffer.alloc(3000)]) {
    const reader = new FrameReader({ maxBytes: 100, bufferMaxBytes: 10_000 });
    const fill = (): void => {
      for (let i = 0; i <= 10_000; i++) reader.push(slice);
    };
    assert.throws(fill, { name: 'SwarmError', code: 'FRAME_OVERFLOW' });
    assert.ok(reader.buffered <= 10_000);
  }
});
