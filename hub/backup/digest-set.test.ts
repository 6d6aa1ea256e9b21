import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from '../../proto/oci/digest.ts';
import { DigestSet } from './digest-set.ts';

const digest = fc
  .tuple(fc.nat(), fc.constantFrom('sha256' as const, 'sha512' as const))
  .map(([n, algorithm]) => digestOf(Buffer.from(String(n)), algorithm));

test('a set has what was added and nothing else', () => {
  fc.assert(
    fc.property(fc.array(digest, { maxLength: 3000 }), fc.array(digest), (added, others) => {
      const set = new DigestSet();
      const wanted = new Set(added);
      for (const one of [...wanted].sort()) set.add(one);
      for (const one of [...added, ...others]) assert.equal(set.has(one), wanted.has(one));
    }),
    { numRuns: 20 },
  );
});
