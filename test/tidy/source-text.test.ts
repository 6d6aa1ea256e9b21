import { test } from 'node:test';
import assert from 'node:assert/strict';
import { maskSource } from './source-text.ts';

const cases: readonly [source: string, code: string][] = [
  ['a(); // b()\nc', 'a();       \nc'],
  ['/* x\n */ y', '    \n    y'],
  [`f('enum A')`, `f('      ')`],
  [`f("it's")`, `f("    ")`],
  ['x = /[/"]/g; y', 'x = /    /g; y'],
  ['a / b / c', 'a / b / c'],
  [`'\\'' + z`, `'  ' + z`],
];

test('comments, texts, templates and regular expressions are blanked, code is not', () => {
  for (const [source, code] of cases) {
    const masked = maskSource(source);
    assert.equal(masked.code.length, source.length, source);
    assert.equal(masked.code, code);
  }
  const template = maskSource('`a ${b({ c: `d` })} e` + f').code;
  assert.match(template, /b\(\{ c: ` ` \}\)/);
  assert.match(template, /\+ f$/);
  assert.ok(!/[ade]/.test(template));
});

test('comments are kept apart for the search for unfinished work', () => {
  assert.equal(maskSource('a; // later').comments.trim(), '// later');
});
