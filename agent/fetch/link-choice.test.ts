import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { FAR_LINKS_MAX, LINKS_MAX, NEAR_LINKS_MAX, SPARE_PEERS_MAX } from './constants.ts';
import { chooseLinks } from './link-choice.ts';

type Candidate = { id: number; near: boolean };

function candidates(near: number, far: number): Candidate[] {
  return Array.from({ length: near + far }, (_, id) => ({ id, near: id >= far }));
}

const isNear = ({ near }: Candidate): boolean => near;

describe('the choice of links', () => {
  it('takes near peers first, however late they are named, and few far ones beside them', () => {
    const { now } = chooseLinks(candidates(30, 30), { near: 0, far: 0 }, isNear);
    assert.equal(now.filter(isNear).length, NEAR_LINKS_MAX);
    assert.equal(now.length, LINKS_MAX);
    const some = chooseLinks(candidates(10, 30), { near: 0, far: 0 }, isNear).now;
    assert.equal(some.filter(isNear).length, 10);
    assert.equal(some.length - 10, FAR_LINKS_MAX);
  });

  it('takes far peers when there are hardly any near ones', () => {
    const { now } = chooseLinks(candidates(2, 30), { near: 0, far: 0 }, isNear);
    assert.ok(now.length > 2 + FAR_LINKS_MAX, `${now.length} links`);
  });

  it('never exceeds the bounds, and uses nobody twice', () => {
    const counts = fc.record({ near: fc.nat(LINKS_MAX), far: fc.nat(LINKS_MAX) });
    fc.assert(
      fc.property(counts, fc.nat(80), fc.nat(80), (linked, near, far) => {
        fc.pre(linked.near + linked.far <= LINKS_MAX);
        const { now, spare } = chooseLinks(candidates(near, far), linked, isNear);
        assert.ok(linked.near + linked.far + now.length <= LINKS_MAX);
        assert.ok(spare.length <= SPARE_PEERS_MAX);
        const ids = [...now, ...spare].map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length);
      }),
    );
  });
});
