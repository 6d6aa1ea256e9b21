import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from '../../proto/oci/digest.ts';
import { planResponse } from './response-plan.ts';
import type { Conditions } from './response-plan.ts';

const GET: Conditions = {
  method: 'GET',
  range: undefined,
  ifRange: undefined,
  ifNoneMatch: undefined,
};
const DIGEST = digestOf(Buffer.from('x'));
const FACTS = { digest: DIGEST, size: 100, mediaType: 'application/octet-stream' };

test('one range gives exactly the slice it names', () => {
  const bound = fc.option(fc.nat(300), { nil: undefined });
  fc.assert(
    fc.property(fc.nat(200), bound, bound, (size, first, last) => {
      fc.pre(first !== undefined || last !== undefined);
      const range = `bytes=${first ?? ''}-${last ?? ''}`;
      const reference = Buffer.from(Array.from({ length: size }, (_, index) => index));
      const expected = referenceSlice(reference, first, last);
      const plan = planResponse({ ...FACTS, size }, { ...GET, range });
      if (size === 0) {
        // Of nothing no part can be named.
        assert.deepEqual([plan.status, plan.body], [200, { start: 0, end: 0 }]);
      } else if (expected === undefined) {
        assert.equal(plan.status, 416);
        assert.equal(plan.headers['content-range'], `bytes */${size}`);
      } else {
        assert.equal(plan.status, 206);
        const { start, end } = plan.body ?? { start: 0, end: 0 };
        assert.deepEqual(reference.subarray(start, end), expected);
        assert.equal(plan.headers['content-range'], `bytes ${start}-${end - 1}/${size}`);
        assert.equal(plan.headers['content-length'], expected.length);
      }
    }),
    { numRuns: 500 },
  );
});

/** RFC 9110 §14.1.2 read with array positions. */
function referenceSlice(
  bytes: Buffer,
  first: number | undefined,
  last: number | undefined,
): Buffer | undefined {
  if (first === undefined) {
    return last === 0 || bytes.length === 0 ? undefined : bytes.subarray(-(last ?? 0));
  }
  if (first >= bytes.length || (last !== undefined && last < first)) return undefined;
  return bytes.subarray(first, (last ?? bytes.length) + 1);
}

test('what is not one range of bytes is answered whole', () => {
  for (const range of ['bytes=0-1,5-6', 'items=0-1', 'bytes=a-b', 'bytes=', 'bytes=-', '0-1']) {
    const plan = planResponse(FACTS, { ...GET, range });
    assert.deepEqual([plan.status, plan.body], [200, { start: 0, end: 100 }], range);
  }
});

test('a matching If-None-Match is answered 304 without a body', () => {
  for (const ifNoneMatch of [`"${DIGEST}"`, `W/"${DIGEST}"`, `"a", "${DIGEST}"`, '*']) {
    const plan = planResponse(FACTS, { ...GET, ifNoneMatch });
    assert.deepEqual([plan.status, plan.body], [304, undefined], ifNoneMatch);
    assert.equal(plan.headers['etag'], `"${DIGEST}"`);
  }
  assert.equal(planResponse(FACTS, { ...GET, ifNoneMatch: '"other"' }).status, 200);
});

test('a range under another validator is answered whole', () => {
  const range = 'bytes=10-';
  assert.equal(planResponse(FACTS, { ...GET, range, ifRange: '"old"' }).status, 200);
  assert.equal(planResponse(FACTS, { ...GET, range, ifRange: `"${DIGEST}"` }).status, 206);
});

test('HEAD tells the whole and sends nothing', () => {
  const plan = planResponse(FACTS, { ...GET, method: 'HEAD', range: 'bytes=5-' });
  assert.deepEqual([plan.status, plan.body], [200, undefined]);
  assert.equal(plan.headers['content-length'], 100);
  assert.equal(plan.headers['docker-content-digest'], DIGEST);
});
