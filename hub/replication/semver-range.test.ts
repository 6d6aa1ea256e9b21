import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { semverRange } from './semver-range.ts';

test('ranges hold the versions that npm and semver.org say', () => {
  const cases: [string, string[], string[]][] = [
    ['^1.4', ['1.4.0', 'v1.9.3', '1.4.0+build'], ['1.3.9', '2.0.0', '2.0.0-rc.1', 'latest', '1.4']],
    ['^0.2.3', ['0.2.3', '0.2.9'], ['0.3.0', '0.2.2']],
    ['^0.0.3', ['0.0.3'], ['0.0.4']],
    ['^0', ['0.0.1', '0.9.0'], ['1.0.0']],
    ['~1.2.3', ['1.2.3', '1.2.9'], ['1.3.0']],
    ['~1', ['1.0.0', '1.9.9'], ['2.0.0']],
    ['1.x', ['1.0.0', '1.99.1'], ['2.0.0', '0.9.0']],
    ['1.2.*', ['1.2.0'], ['1.3.0']],
    ['*', ['0.0.1', '9.9.9'], ['1.0.0-rc.1', 'main']],
    ['', ['1.0.0'], ['x']],
    ['>=2.0 <3', ['2.0.0', '2.9.9'], ['1.9.9', '3.0.0', '3.0.0-rc.1']],
    ['> 1.2', ['1.3.0'], ['1.2.9']],
    ['>1.2.3', ['1.2.4'], ['1.2.3']],
    ['<=1.2', ['1.2.9'], ['1.3.0']],
    ['<2', ['1.9.9'], ['2.0.0', '2.0.0-alpha']],
    ['1.2 - 2.3', ['1.2.0', '2.3.9'], ['2.4.0', '1.1.9']],
    ['1.0.0 || ^3', ['1.0.0', '3.1.0'], ['2.0.0', '1.0.1']],
    ['>=1.2.3-rc.2', ['1.2.3-rc.2', '1.2.3-rc.10', '1.2.3', '2.0.0'], ['1.2.3-rc.1', '1.2.4-rc.3']],
    ['=1.2.3', ['1.2.3', 'v1.2.3'], ['1.2.4', '01.2.3']],
  ];
  for (const [range, inside, outside] of cases) {
    const fits = semverRange(range);
    for (const tag of inside) assert.ok(fits(tag), `${tag} is in "${range}"`);
    for (const tag of outside) assert.ok(!fits(tag), `${tag} is not in "${range}"`);
  }
});

test('prereleases are in the order of semver.org', () => {
  const order = ['alpha', 'alpha.1', 'alpha.beta', 'beta', 'beta.2', 'beta.11', 'rc.1'];
  for (const [i, low] of order.entries()) {
    const fits = semverRange(`>=1.0.0-${low}`);
    assert.deepEqual(
      order.filter((pre) => fits(`1.0.0-${pre}`)),
      order.slice(i),
    );
  }
});

test('what is no range is refused', () => {
  for (const range of ['newest', '^', '1.2.3.4', '>=', '>>1', '1 - ', '^1..2', '01']) {
    assert.throws(() => semverRange(range), { code: 'INVALID' }, range);
  }
});

const number = fc.nat({ max: 4 });
const version = fc.tuple(number, number, number);

test('a caret holds from its version to the next breaking one', () => {
  fc.assert(
    fc.property(version, version, (base, tag) => {
      const first = base.findIndex((n) => n > 0);
      const fixed = first < 0 ? 3 : first + 1;
      const same = base.slice(0, fixed).every((n, i) => n === tag[i]);
      const differs = tag.findIndex((n, i) => n !== base[i]);
      const later = differs < 0 || (tag[differs] ?? 0) > (base[differs] ?? 0);
      assert.equal(semverRange(`^${base.join('.')}`)(tag.join('.')), same && later);
    }),
  );
});
