import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { ownerAmong, standingOf } from './rendezvous.ts';

const DIGESTS = Array.from({ length: 6000 }, (_, i) => digestOf(Buffer.from(`blob ${i}`)));
const NAMES = fc.uniqueArray(fc.uuid(), { minLength: 2, maxLength: 8 });

function ownersOf(names: readonly string[], digests: readonly Digest[] = DIGESTS): string[] {
  const replicas = names.map(standingOf);
  return digests.map((digest) => ownerAmong(replicas, digest)?.id ?? '');
}

test('each replica owns about its share of the digests', () => {
  fc.assert(
    fc.property(NAMES, (names) => {
      const owners = ownersOf(names);
      const share = DIGESTS.length / names.length;
      for (const name of names) {
        const count = owners.filter((owner) => owner === name).length;
        // Six standard deviations of a fair draw.
        const spread = 6 * Math.sqrt(share * (1 - 1 / names.length));
        assert.ok(Math.abs(count - share) < spread, `${count} of ${DIGESTS.length}, not ${share}`);
      }
    }),
    { numRuns: 30 },
  );
});

test('a replica that joins takes digests over and moves none between the others', () => {
  fc.assert(
    fc.property(NAMES, (names) => {
      const [last = '', ...before] = names;
      const [few, many] = [ownersOf(before), ownersOf(names)];
      for (const [i, owner] of many.entries()) {
        assert.ok(owner === few[i] || owner === last);
      }
      const moved = many.filter((owner) => owner === last).length;
      assert.ok(moved > 0 && moved < DIGESTS.length);
    }),
    { numRuns: 30 },
  );
});

test('the owner does not depend on the order in which replicas are known', () => {
  const digests = DIGESTS.slice(0, 300);
  fc.assert(
    fc.property(NAMES, (names) => {
      const sorted = ownersOf(names.toSorted(), digests);
      assert.deepEqual(ownersOf(names.toReversed(), digests), ownersOf(names, digests));
      assert.deepEqual(ownersOf(names, digests), sorted);
    }),
    { numRuns: 30 },
  );
});

test('digests of both algorithms have an owner, and none when nobody is there', () => {
  const digest = digestOf(Buffer.from('blob'), 'sha512');
  assert.equal(ownerAmong([standingOf('only')], digest)?.id, 'only');
  assert.equal(ownerAmong([], digest), undefined);
});

test('owners are chosen as they were by earlier versions, which run beside this one', () => {
  const owners = ownersOf(['hub-a', 'hub-b', 'hub-c'], DIGESTS.slice(0, 12));
  assert.equal(owners.map((owner) => owner.at(-1)).join(''), 'baccbbacacab');
});
