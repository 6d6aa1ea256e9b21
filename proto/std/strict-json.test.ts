import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseStrictJson } from './strict-json.ts';

const read = (text: string): unknown => parseStrictJson(Buffer.from(text));

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

function refuses(text: string | Buffer, why: RegExp): void {
  const bytes = Buffer.from(text);
  assert.throws(() => parseStrictJson(bytes), { code: 'JSON_INVALID', message: why });
}

test('every JSON value is read as the platform reads it', () => {
  fc.assert(
    fc.property(fc.json({ depthSize: 'small', noUnicodeString: false }), (text) => {
      fc.pre(text.isWellFormed() && !text.includes('\\ud'));
      const expected: unknown = JSON.parse(text);
      assert.deepEqual(read(text), expected);
      assert.deepEqual(read(` \n\t${JSON.stringify(expected, undefined, 2)}\r\n`), expected);
    }),
  );
});

test('what the platform refuses is refused, whatever the text', () => {
  const char = fc.constantFrom(...'{}[]",:\\0123-+.eEtruefalsn u'.split(''));
  fc.assert(
    fc.property(fc.string({ unit: char, maxLength: 12 }), (text) => {
      let valid = true;
      try {
        JSON.parse(text);
      } catch {
        valid = false;
      }
      if (!valid) refuses(text, /./);
    }),
    { numRuns: 2000 },
  );
});

test('one key given twice is refused, also when it is spelled with escapes', () => {
  refuses('{"a":1,"a":1}', /duplicate key/);
  refuses('{"a":1,"\\u0061":2}', /duplicate key/);
  refuses('[{"x":{"":1,"":2}}]', /duplicate key/);
});

test('bytes that are not plain UTF-8 are refused', () => {
  refuses(Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), /not a value/);
  refuses(Buffer.from([0x22, 0xc0, 0xaf, 0x22]), /not UTF-8/);
  refuses(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /not UTF-8/);
  refuses(Buffer.from('{}', 'utf16le'), /./);
  refuses('"\\ud800"', /surrogate/);
  assert.equal(read('"\\ud83d\\ude00"'), '😀');
});

test('control characters, wrong escapes and open texts are refused', () => {
  for (const text of ['"\u0000"', '"\n"', '"\\x41"', '"\\u12"', '"', '"a', '"\\', '"\\"', "'a'"]) {
    refuses(text, /./);
  }
});

test('nesting and the number of values are bounded, at the bound all is well', () => {
  assert.ok(read(nested(65)));
  refuses(nested(66), /nested too deep/);
  refuses('['.repeat(4_000_000), /nested too deep/);
  assert.throws(() => parseStrictJson(Buffer.from('[1,2]'), { valuesMax: 2 }), /too many values/);
  assert.ok(parseStrictJson(Buffer.from('[1,2]'), { valuesMax: 3 }));
});

test('numbers are finite, and may be read by the caller as they were written', () => {
  refuses('1e999', /too large/);
  for (const text of ['01', '+1', '.5', '1.', '0x1', 'NaN', 'Infinity', '-']) refuses(text, /./);
  const literals: string[] = [];
  const numberOf = (literal: string): number => literals.push(literal);
  parseStrictJson(Buffer.from('[1.0,9007199254740993,-0,1e999]'), { numberOf });
  assert.deepEqual(literals, ['1.0', '9007199254740993', '-0', '1e999']);
});

test('keys of the prototype are plain data', () => {
  const value = read('{"__proto__":{"polluted":1},"constructor":2}');
  assert.deepEqual(Object.keys(value ?? {}), ['__proto__', 'constructor']);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.equal(Object.hasOwn({}, 'polluted'), false);
});

test('a text of many MiB is read, not overflowed by', () => {
  const long = 'x'.repeat(32 * 1024 * 1024);
  assert.equal(read(`"${long}"`), long);
});
