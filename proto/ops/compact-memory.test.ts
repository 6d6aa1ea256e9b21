import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { compactMemory } from './compact-memory.ts';

const OBJECTS = 500_000;

test('memory that a start has used is given back', () => {
  let made: object[] | undefined = Array.from({ length: OBJECTS }, (_, at) => ({
    at,
    name: `${at}`,
  }));
  const before = getHeapStatistics().total_physical_size;
  assert.equal(made.length, OBJECTS);
  made = undefined;
  compactMemory();
  const freed = before - getHeapStatistics().total_physical_size;
  assert.ok(freed > OBJECTS * 20, `${freed} bytes`);
  assert.equal(typeof globalThis.gc, 'undefined');
});
