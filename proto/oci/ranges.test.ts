import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatContentRange, parseContentRange, parseRange, parseUploadRange } from './ranges.ts';

const HUGE = '9'.repeat(400);
const part = (start: number, end: number): object => ({ kind: 'part', start, end });
const whole = { kind: 'whole' };
const unsatisfiable = { kind: 'unsatisfiable' };

test('single ranges of content of 1500 bytes', () => {
  const cases: readonly [header: string, expected: object][] = [
    ['bytes=0-', part(0, 1500)],
    ['bytes=0-0', part(0, 1)],
    ['bytes=500-1499', part(500, 1500)],
    ['bytes=500-', part(500, 1500)],
    ['bytes=-500', part(1000, 1500)],
    ['bytes=-5000', part(0, 1500)],
    ['bytes=1000-5000', part(1000, 1500)],
    ['Bytes=1-2', part(1, 3)],
    [' bytes=1-2 ', part(1, 3)],
    ['bytes=00000000000000000000001-00000000000000000000002', part(1, 3)],
    [`bytes=1-${HUGE}`, part(1, 1500)],
    [`bytes=-${HUGE}`, part(0, 1500)],
    ['bytes=1-9007199254740991', part(1, 1500)],
    ['bytes=1-18446744073709551615', part(1, 1500)],
    ['bytes=1500-', unsatisfiable],
    ['bytes=5000-10000', unsatisfiable],
    ['bytes=500-0', unsatisfiable],
    ['bytes=-0', unsatisfiable],
    [`bytes=${HUGE}-${HUGE}`, unsatisfiable],
    [`bytes=${HUGE}-`, unsatisfiable],
  ];
  for (const [header, expected] of cases) assert.deepEqual(parseRange(header, 1500), expected);
});

test('what is not one byte range is ignored', () => {
  const headers = [
    ['', 'bytes', 'bytes=', 'bytes=-', 'bytes=--1', 'bytes=-1-2', 'bytes=1-2-3', 'bytes=1'],
    ['bytes=0-1,3-4', 'bytes 0-1', 'items=0-1', 'bytes=a-b', 'bytes=0x1-0x2', 'bytes=1e1-'],
    ['bytes=+1-2', 'bytes=1.0-2', 'bytes=1 -2', 'bytes=١-٢', 'bytes=0-1\n1', 'xbytes=0-1'],
  ].flat();
  for (const header of headers) assert.deepEqual(parseRange(header, 100), whole, header);
  assert.deepEqual(parseRange(undefined, 100), whole);
});

test('of empty content no part can be named, so the whole of it is the answer', () => {
  for (const header of ['bytes=0-', 'bytes=-5', 'bytes=0-0', 'bytes=7-9']) {
    assert.deepEqual(parseRange(header, 0), whole, header);
  }
});

test('a part lies within the content and is never empty', () => {
  const digits = fc.stringMatching(/^\d{0,20}$/);
  fc.assert(
    fc.property(digits, digits, fc.nat(2 ** 45), (first, last, size) => {
      const range = parseRange(`bytes=${first}-${last}`, size);
      if (range.kind !== 'part') return;
      assert.ok(range.start >= 0 && range.start < range.end && range.end <= size);
      const header = formatContentRange(range.start, range.end, size);
      assert.deepEqual(parseContentRange(header), { start: range.start, end: range.end, size });
    }),
    { numRuns: 500 },
  );
});

test('a Content-Range is read when it can be true', () => {
  assert.deepEqual(parseContentRange('bytes 0-9/10'), { start: 0, end: 10, size: 10 });
  assert.deepEqual(parseContentRange('Bytes 5-5/*'), { start: 5, end: 6, size: undefined });
  const wrong = [
    ['', 'bytes', 'bytes 0-9', 'bytes */10', 'bytes 0-10/10', 'bytes 9-0/10', 'bytes=0-9/10'],
    ['bytes 0-9/9007199254740993', 'bytes 0-9007199254740991/*', `bytes 0-${HUGE}/${HUGE}`],
    ['bytes -9/10', 'bytes 0-/10', 'bytes 0-9/', 'bytes 0-9/-1', 'bytes 0-9/10, bytes 0-9/10'],
    ['items 0-9/10', 'bytes  0-9/10', 'bytes 0-9/1e1', 'bytes 0-9/10x', 'bytes 0.0-9/10'],
  ].flat();
  for (const header of wrong) assert.equal(parseContentRange(header), undefined, header);
});

test('the range of an upload chunk is first-last, as the spec and as HTTP write it', () => {
  for (const header of ['0-9', 'bytes 0-9', 'bytes 0-9/*', 'bytes 0-9/10', ' 0-9 ']) {
    assert.deepEqual(parseUploadRange(header), { start: 0, end: 10 }, header);
  }
  const wrong = ['', '-', '0-', '-9', '9-0', '0-9/5', 'bytes=0-9', '0-9,10-19', '1e1-20', 'a-b'];
  for (const header of [...wrong, `0-${HUGE}`]) {
    assert.equal(parseUploadRange(header), undefined, header);
  }
});
