import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { LEAF_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves, HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { LeafBook } from './leaf-book.ts';

test('leaves in whatever batches make the chunk hashes of the whole blob', () => {
  // Chunks of one leaf, and of four with a short last one.
  const sizes = fc.constantFrom(5 * LEAF_BYTES + 1, 1026 * LEAF_BYTES + 7);
  const steps = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 30 });
  fc.assert(
    fc.property(sizes, steps, fc.integer({ min: 0, max: 3 }), (size, cuts, again) => {
      const layout = layoutOf(size);
      const leaves = randomBytes(layout.leafCount * HASH_BYTES);
      const book = new LeafBook(layout);
      const rows: Buffer[] = [];
      for (const cut of [...cuts, layout.leafCount]) {
        // Some leaves may come twice.
        const first = Math.max(0, book.next - again);
        const end = Math.min(layout.leafCount, book.next + cut);
        const made = book.add(first, leaves.subarray(first * HASH_BYTES, end * HASH_BYTES));
        assert.equal(made.first, Buffer.concat(rows).length / HASH_BYTES);
        rows.push(made.hashes);
      }
      assert.ok(Buffer.concat(rows).equals(chunkHashesFromLeaves(leaves, layout)));
      assert.equal(book.next, layout.leafCount);
    }),
    { numRuns: 40 },
  );
});

test('leaves behind a gap make nothing', () => {
  const layout = layoutOf(8 * LEAF_BYTES);
  const book = new LeafBook(layout);
  assert.equal(book.add(1, randomBytes(2 * HASH_BYTES)).hashes.length, 0);
  assert.equal(book.next, 0);
});
