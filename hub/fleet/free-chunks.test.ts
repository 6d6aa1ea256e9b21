import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FreeChunks } from './free-chunks.ts';

const COUNT_MAX = 100;

test('the lowest free chunk is taken, whatever became free or was taken before', () => {
  const step = fc.record({
    kind: fc.constantFrom('add', 'remove', 'take'),
    index: fc.nat(COUNT_MAX),
  });
  fc.assert(
    fc.property(fc.nat(COUNT_MAX), fc.nat(COUNT_MAX), fc.array(step), (count, gone, steps) => {
      const free = new FreeChunks(count);
      const model = new Set(Array.from({ length: count }, (_, index) => index));
      for (let index = 0; index < Math.min(gone, count); index++) {
        assert.equal(free.take(), index);
        model.delete(index);
      }
      for (const { kind, index } of steps) {
        if (kind === 'take' && model.size > 0) {
          const lowest = Math.min(...model);
          assert.equal(free.take(), lowest);
          model.delete(lowest);
        } else if (index < count && kind === 'add') {
          free.add(index);
          model.add(index);
        } else if (index < count && kind === 'remove') {
          free.remove(index);
          model.delete(index);
        }
        assert.equal(free.size, model.size);
      }
    }),
  );
});

test('nothing is taken when nothing is free', () => {
  assert.throws(() => new FreeChunks(0).take(), RangeError);
});
