import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { linearRegex } from './linear-regex.ts';

test('patterns fit whole tags as JavaScript has it', () => {
  const cases: [string, string[], string[]][] = [
    ['v\\d+\\.\\d+', ['v1.2', 'v10.20'], ['v1', 'v1.2.3', 'xv1.2']],
    ['^release-.*$', ['release-', 'release-1'], ['prerelease-1']],
    ['(main|dev)(-[0-9a-f]{7,40})?', ['main', 'dev-0123abc'], ['main-0', 'other']],
    ['[^a-c_-]+', ['xyz'], ['xay', '']],
    ['a{2,3}b*', ['aa', 'aaab'], ['a', 'aaaa']],
    ['', [''], ['a']],
    ['\\$', ['$'], ['']],
    ['[a\\]-]', [']', '-', 'a'], ['b']],
    ['a|', ['a', ''], ['b']],
  ];
  for (const [pattern, fitting, others] of cases) {
    const fits = linearRegex(pattern);
    for (const text of fitting) assert.ok(fits(text), `${pattern} fits "${text}"`);
    for (const text of others) assert.ok(!fits(text), `${pattern} does not fit "${text}"`);
  }
});

test('what cannot be, or is wrong, is refused with the reason', () => {
  const cases: [string, RegExp][] = [
    ['(?=a)', /look-around/],
    ['(a)\\1', /\\1, which is not known/],
    ['a**', /repetition of a repetition/],
    ['*', /stands for nothing/],
    ['(a', /\( without \)/],
    ['a)', /unexpected \)/],
    ['[a', /\[ without \]/],
    ['[]', /empty \[\]/],
    ['[z-a]', /range that is none/],
    ['a{3,1}', /repetition that is not/],
    ['a{x}', /\{ that is no repetition/],
    ['(a{255}){255}', /too big/],
    [`${'('.repeat(60)}a${'){255}'.repeat(60)}`, /too big/],
    [`${'(?:'.repeat(40)}${'){255}'.repeat(40)}`, /too big/],
  ];
  for (const [pattern, message] of cases) {
    assert.throws(() => linearRegex(pattern), { code: 'INVALID', message }, pattern);
  }
});

const atom = fc.oneof(
  fc.constantFrom('a', 'b', '1', '.', '\\d', '\\w', '[ab]', '[^a]', '[a-b1]'),
  fc.constantFrom('a|b', 'ab', '').map((inner) => `(?:${inner})`),
);
const pattern = fc
  .array(fc.tuple(atom, fc.constantFrom('', '*', '+', '?', '{1,2}', '{2}')), { maxLength: 6 })
  .map((parts) => parts.map((part) => part.join('')).join(''));
const alternatives = fc
  .array(pattern, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('|'));

test('it fits what JavaScript fits', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '1', '-'), maxLength: 12 });
  fc.assert(
    fc.property(alternatives, fc.array(text, { maxLength: 5 }), (source, texts) => {
      const fits = linearRegex(source);
      const regex = new RegExp(`^(?:${source})$`, 'u');
      for (const one of texts) assert.equal(fits(one), regex.test(one), `${source} on "${one}"`);
    }),
    { numRuns: 500 },
  );
});

test('no pattern takes long on any tag', () => {
  // JavaScript would try 2^100 ways through each of these.
  const tag = `${'a'.repeat(127)}!`;
  for (const source of ['(a+)+b', '(a|a)*b', '(a*)*b', '(.*a){20}b', '(a?){60}a{60}']) {
    assert.equal(linearRegex(source)(tag), false);
  }
});
