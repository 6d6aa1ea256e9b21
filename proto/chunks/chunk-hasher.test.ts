import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ChunkHasher } from './chunk-hasher.ts';
import { LEAF_BYTES } from './layout.ts';
import { chunkHash } from './merkle.ts';

const BYTES = randomBytes(3 * LEAF_BYTES + 77);

test('a chunk hashes to the same in whatever pieces it comes', () => {
  const cuts = fc.array(fc.nat(BYTES.length), { maxLength: 8 });
  fc.assert(
    fc.property(cuts, fc.integer({ min: 1, max: BYTES.length }), (at, length) => {
      const hasher = new ChunkHasher();
      const ends = [...at.filter((end) => end < length), length].toSorted((a, b) => a - b);
      let from = 0;
      for (const end of ends) {
        hasher.update(BYTES.subarray(from, end));
        from = end;
      }
      assert.equal(hasher.size, length);
      assert.ok(hasher.finish().equals(chunkHash(BYTES.subarray(0, length))));
    }),
    {
      numRuns: 30,
      examples: [
        [[LEAF_BYTES], 2 * LEAF_BYTES],
        [[], LEAF_BYTES],
        [[7], LEAF_BYTES + 1],
      ],
    },
  );
});
