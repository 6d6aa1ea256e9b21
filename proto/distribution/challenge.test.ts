import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseChallenges } from './challenge.ts';

const read = (header: string): [string, Record<string, string>][] =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test('the challenge of a registry is read', () => {
  const header =
    'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"';
  assert.deepEqual(read(header), [
    [
      'bearer',
      {
        realm: 'https://auth.example/token',
        service: 'registry',
        scope: 'repository:a/b:pull,push',
      },
    ],
  ]);
});

test('several challenges in one header are told apart', () => {
  const cases: readonly [header: string, expected: [string, object][]][] = [
    ['', []],
    ['Negotiate', [['negotiate', {}]]],
    [
      'Basic realm="a", Bearer realm="b"',
      [
        ['basic', { realm: 'a' }],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'Negotiate, BEARER Realm = x',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'x' }],
      ],
    ],
    [
      'Negotiate YWJj/+==, Bearer realm=x',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'x' }],
      ],
    ],
    [
      'Negotiate abc , Bearer realm=x',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'x' }],
      ],
    ],
    [',, Basic realm="a",,\tx=1 ,', [['basic', { realm: 'a', x: '1' }]]],
    ['Basic realm="a, Bearer realm=b"', [['basic', { realm: 'a, Bearer realm=b' }]]],
    [String.raw`Basic realm="\"\\\a"`, [['basic', { realm: String.raw`"\a` }]]],
    ['Basic realm="", x=y', [['basic', { realm: '', x: 'y' }]]],
    ['Bearer realm="first", realm="second"', [['bearer', { realm: 'first' }]]],
    ['Bearer __proto__="x"', [['bearer', Object.fromEntries([['__proto__', 'x']])]]],
  ];
  for (const [header, expected] of cases) assert.deepEqual(read(header), expected, header);
});

test('what cannot be read ends the list, and takes nothing with it', () => {
  const basic: [string, object] = ['basic', { realm: 'a' }];
  for (const rest of ['"', '=', '@', 'Bearer realm="open', 'Bearer realm=', 'Bearer realm=/']) {
    assert.deepEqual(read(`Basic realm="a", ${rest}`)[0], basic, rest);
  }
  assert.deepEqual(read('realm="no scheme", Basic realm="a"'), []);
});

test('a header without measure is not read, not even in part', () => {
  assert.deepEqual(read(`Bearer realm="${'x'.repeat(16 * 1024)}"`), []);
  assert.deepEqual(read('Bearer realm=x, '.repeat(1024)), []);
});

test('every text comes back out of its quotes', () => {
  const text = fc.stringMatching(/^[ -~]{0,40}$/);
  const name = fc.stringMatching(/^[a-z]{1,8}$/);
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(name, text), { selector: ([key]) => key }), (parts) => {
      const quoted = parts.map(
        ([key, value]) => `${key}="${value.replaceAll(/[\\"]/g, String.raw`\$&`)}"`,
      );
      const header = `Bearer ${quoted.join(', ')}, Basic x=y`;
      const expected = [
        ['bearer', Object.fromEntries(parts)],
        ['basic', { x: 'y' }],
      ];
      assert.deepEqual(read(header), expected);
    }),
  );
});
