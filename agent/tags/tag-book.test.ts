import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from '../../proto/oci/digest.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { signTagStatement, type TagStatement } from '../../proto/trust/tag-statement.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { TagBook } from './tag-book.ts';

const START_MS = 1_700_000_000_000;
const NAME = { namespace: 'hub', repository: 'team/app', tag: 'v1' };
const ONE = digestOf(Buffer.from('one'));
const TWO = digestOf(Buffer.from('two'));

function bench(max?: number) {
  const clock = { nowMs: START_MS };
  const ring = KeyRing.create(0);
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  const now = (): number => clock.nowMs;
  const book = new TagBook(max === undefined ? { now } : { now, max }, {
    trust,
    fleetId: () => 'fleet-1',
  });
  const signed = (fields: Partial<TagStatement>): Buffer => {
    const statement = { fleetId: 'fleet-1', ...NAME, digest: ONE, timeMs: START_MS, ...fields };
    return signTagStatement(statement, ring.signingKey('tag'));
  };
  return { clock, ring, trust, book, signed };
}

const heard = fc.record({
  tag: fc.constantFrom('a', 'b', 'c'),
  digest: fc.constantFrom(ONE, TWO),
  timeMs: fc.integer({ min: START_MS - 5, max: START_MS + CLOCK_SKEW_MS }),
});

test('the newest statement of a name wins, in whatever order they come', () => {
  fc.assert(
    fc.property(fc.array(heard, { maxLength: 12 }), (statements) => {
      const { book, signed } = bench();
      for (const one of statements) book.take(signed(one));
      for (const tag of ['a', 'b', 'c']) {
        const of = statements.filter((one) => one.tag === tag);
        const latest = of.reduce<(typeof of)[number] | undefined>((best, one) => {
          if (best === undefined || one.timeMs > best.timeMs) return one;
          return one.timeMs === best.timeMs && one.digest > best.digest ? one : best;
        }, undefined);
        const held = book.get({ ...NAME, tag })?.statement;
        assert.deepEqual(
          held && { tag: held.tag, digest: held.digest, timeMs: held.timeMs },
          latest && { tag: latest.tag, digest: latest.digest, timeMs: latest.timeMs },
        );
      }
    }),
    { numRuns: 60 },
  );
});

test('names are bounded: the one not heard of for longest is forgotten', () => {
  const { book, signed } = bench(2);
  book.take(signed({ tag: 'a' }));
  book.take(signed({ tag: 'b' }));
  book.heard({ ...NAME, tag: 'a' }, ONE);
  book.take(signed({ tag: 'c' }));
  assert.equal(book.size, 2);
  assert.equal(book.get({ ...NAME, tag: 'b' }), undefined);
  assert.ok(book.get({ ...NAME, tag: 'a' }));
});

test('what the hub has contradicted is not told, nor anything older', () => {
  const { book, signed } = bench();
  const first = signed({ digest: ONE });
  book.take(first);
  book.heard(NAME, TWO);
  assert.equal(book.get(NAME), undefined);
  assert.deepEqual(book.statements(), []);
  assert.equal(book.take(first).isNews, false);
  assert.equal(book.take(signed({ digest: TWO, timeMs: START_MS - 1 })).isNews, false);
  assert.equal(book.get(NAME), undefined);
  book.take(signed({ digest: TWO, timeMs: START_MS + 1 }));
  assert.equal(book.get(NAME)?.statement.digest, TWO);
  book.heard(NAME, undefined);
  assert.equal(book.get(NAME), undefined, 'the tag is gone');
});

test('a statement under a key that was revoked since is not told, and gives way', () => {
  const { book, ring, trust, signed } = bench();
  book.take(signed({ digest: ONE, timeMs: START_MS + 9 }));
  ring.revoke(ring.signingKey('tag').keyId, START_MS);
  trust.load(ring.bundle());
  assert.equal(book.get(NAME), undefined);
  book.take(signed({ digest: TWO }));
  assert.equal(book.get(NAME)?.statement.digest, TWO);
});

test('a statement of a clock far ahead is refused, and does not stand in the way of others', () => {
  const { book, signed } = bench();
  const ahead = signed({ digest: ONE, timeMs: START_MS + CLOCK_SKEW_MS + 1 });
  assert.throws(() => book.take(ahead), { code: 'NOT_YET_VALID' });
  book.take(signed({ digest: TWO }));
  assert.equal(book.get(NAME)?.statement.digest, TWO);
});

test('what the next run gets is what this one held', () => {
  const { book, trust, signed } = bench();
  for (const tag of ['a', 'b', 'c']) book.take(signed({ tag }));
  const next = new TagBook({ now: () => START_MS }, { trust, fleetId: () => 'fleet-1' });
  for (const bytes of book.statements()) next.take(bytes);
  assert.deepEqual(next.statements(), book.statements());
  const elsewhere = new TagBook({ now: () => START_MS }, { trust, fleetId: () => 'fleet-2' });
  for (const bytes of book.statements()) {
    assert.throws(() => elsewhere.take(bytes), { code: 'WRONG_FLEET' });
  }
});
