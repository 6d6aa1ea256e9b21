import { test } from 'node:test';
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { formatByteSize, parseByteSize } from './byte-size.ts';

test('binary, decimal and plain sizes are read', () => {
  assert.equal(parseByteSize('4096'), 4096);
  assert.equal(parseByteSize('512MiB'), 512 * 1024 ** 2);
  assert.equal(parseByteSize('10GB'), 10_000_000_000);
  assert.equal(parseByteSize('1.5GiB'), 1.5 * 1024 ** 3);
  assert.equal(parseByteSize(' 2 tib '), 2 * 1024 ** 4);
  assert.equal(parseByteSize('2.3GB'), 2_300_000_000);
  assert.equal(parseByteSize('4.35MB'), 4_350_000);
  assert.equal(parseByteSize('1.001GB'), 1_001_000_000);
});

test('anything else is refused', () => {
  for (const text of ['', '-1', '1e3', '5XB', 'MiB', '1.5', '0.1B', '9999999TiB', '1 2', '١']) {
    assert.throws(() => parseByteSize(text), { code: 'SIZE_INVALID' }, text);
  }
});

test('a whole number of a unit survives being written and read', () => {
  const units = fc.constantFrom(1, 1024, 1024 ** 2, 1024 ** 3);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1023 }), units, (count, unit) => {
      assert.equal(parseByteSize(formatByteSize(count * unit)), count * unit);
    }),
  );
});
