import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Readers } from './readers.ts';

test('who reads a hundred repositories alone has the weight of one', () => {
  const readers = new Readers();
  const names = Array.from({ length: 100 }, (_, n) => `copy${n}`);
  for (const name of names) readers.enter('greedy', name);
  readers.enter('modest', 'small');
  assert.equal(readers.weightOf('small'), 1);
  const sum = names.reduce((total, name) => total + readers.weightOf(name), 0);
  assert.ok(Math.abs(sum - 1) < 1e-9, `the hundred weigh ${sum}`);
  for (let n = 0; n < 200; n += 1) readers.enter(`node${n}`, 'copy7');
  assert.equal(readers.weightOf('copy7'), 1);
});

test('a repository weighs what those make of it who read it now', () => {
  const readers = new Readers();
  for (const name of ['x', 'y', 'x', 'z', 'u']) readers.enter('a', name);
  assert.equal(readers.weightOf('x'), 0.25);
  readers.leave('a', 'u');
  readers.leave('a', 'z');
  readers.leave('a', 'x');
  assert.equal(readers.weightOf('x'), 0.5);
  readers.leave('a', 'x');
  assert.equal(readers.weightOf('y'), 1);
  readers.leave('a', 'y');
  assert.equal(readers.weightOf('y'), 1);
});
