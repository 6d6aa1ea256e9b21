import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { chosen, checkChoice, ranked } from './selection.ts';

const FLEET = Array.from({ length: 50 }, (_, i) => ({
  node: i % 2 === 0 ? `gpu-${i}` : `cpu-${i}`,
  zone: i < 25 ? 'a' : 'b',
}));

function names(nodes: string): string[] {
  return ranked(FLEET, nodes, 'team/app').map(({ node }) => node);
}

test('terms choose by zone and by name, all of them together', () => {
  assert.equal(names('').length, 50);
  assert.equal(names('zone=a').length, 25);
  assert.equal(names('zone=a,node=gpu-*').length, 13);
  assert.deepEqual(names('node=cpu-1'), ['cpu-1']);
  assert.deepEqual(names('zone=c'), []);
});

test('a part of the nodes is rounded up, and a repeat chooses the same', () => {
  const few = chosen(FLEET, { nodes: 'zone=a', percent: 20 }, 'team/app');
  assert.equal(few.length, 5);
  assert.deepEqual(chosen(FLEET.toReversed(), { nodes: 'zone=a', percent: 20 }, 'team/app'), few);
  const more = chosen(FLEET, { nodes: 'zone=a', percent: 40 }, 'team/app');
  assert.deepEqual(more.slice(0, 5), few, 'a larger part has all of a smaller one');
  assert.notDeepEqual(chosen(FLEET, { nodes: 'zone=a', percent: 20 }, 'team/other'), few);
  assert.equal(chosen(FLEET, { nodes: 'node=cpu-1', percent: 1 }, 'team/app').length, 1);
});

test('who leaves changes the choice by one node at the most', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 49 }),
      fc.integer({ min: 1, max: 20 }),
      (gone, copies) => {
        const before = chosen(FLEET, { nodes: '', copies }, 'team/app');
        const left = FLEET.filter((_, i) => i !== gone);
        const after = chosen(left, { nodes: '', copies }, 'team/app');
        const moved = after.filter((node) => !before.includes(node));
        return moved.length <= 1 && after.length === copies;
      },
    ),
  );
});

test('what cannot be meant is refused, and what nobody fits is told with the zones', () => {
  for (const nodes of ['zone', 'rack=1', 'zone=a;node=b', 'zone=', 'node=a b', ',']) {
    assert.throws(() => checkChoice({ nodes }), { code: 'INVALID' }, nodes);
  }
  assert.throws(() => checkChoice({ nodes: '', percent: 5, copies: 1 }), { code: 'INVALID' });
  assert.throws(
    () => chosen(FLEET, { nodes: 'zone=c' }, 'x'),
    /fits zone=c; there are zones a, b$/,
  );
  assert.throws(() => chosen([], { nodes: '' }, 'x'), /no members/);
});
