import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KeyRing } from './key-ring.ts';
import {
  bodyHashOf,
  REPLICA_CALL_MAX_CHARS,
  signReplicaCall,
  verifyReplicaCall,
  type ReplicaCall,
} from './replica-call.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

const NOW_MS = 1_700_000_000_000;
const TARGET = { method: 'POST', path: '/announce' };
const CALL: ReplicaCall = {
  ...TARGET,
  from: { id: 'hub-a', joined: 3 },
  to: { id: 'hub-b', joined: 9 },
  sequence: 17,
  bodyHash: bodyHashOf(Buffer.from('{}')),
};

const ring = KeyRing.create(NOW_MS);
const keys = (keyId: string) => ring.verificationKey('replica', keyId);
const header = signReplicaCall(CALL, ring.signingKey('replica'), NOW_MS);

function verifyAt(nowMs: number, text: string = header) {
  return verifyReplicaCall(text, TARGET, { keys, nowMs });
}

test('a call of another hub comes out as it was signed, for clocks that differ a little', () => {
  for (const nowMs of [NOW_MS - CLOCK_SKEW_MS, NOW_MS, NOW_MS + CLOCK_SKEW_MS]) {
    assert.deepEqual(verifyAt(nowMs), CALL);
  }
  assert.ok(header.length <= REPLICA_CALL_MAX_CHARS);
});

test('a call is refused when it is old, and when it comes out of the future', () => {
  assert.throws(() => verifyAt(NOW_MS + CLOCK_SKEW_MS + 1), { code: 'EXPIRED' });
  assert.throws(() => verifyAt(NOW_MS - CLOCK_SKEW_MS - 1), { code: 'NOT_YET_VALID' });
});

test('no character of a call can be another one', () => {
  const place = fc.nat(header.length - 1);
  const character = fc.constantFrom(...Array.from('0123456789abcdefxyzABC-_@",= '));
  fc.assert(
    fc.property(place, character, (at, other) => {
      if (header[at] === other) return;
      const forged = header.slice(0, at) + other + header.slice(at + 1);
      assert.throws(() => verifyAt(NOW_MS, forged), {
        code: /^(MALFORMED|UNKNOWN_KEY|BAD_SIGNATURE)$/,
      });
    }),
  );
});

test('a call for one path is none for another, and no other method', () => {
  for (const target of [
    { method: 'POST', path: '/other' },
    { method: 'PUT', path: '/announce' },
  ]) {
    const check = () => verifyReplicaCall(header, target, { keys, nowMs: NOW_MS });
    assert.throws(check, { code: 'BAD_SIGNATURE' });
  }
});

test('numbers and names have one spelling each', () => {
  const spellings = [
    header.replace('@3"', '@03"'),
    header.replace('sequence="17"', 'sequence="017"'),
    header.replace('time="', 'time="0'),
  ];
  for (const text of spellings) {
    assert.throws(() => verifyAt(NOW_MS, text), { code: 'BAD_SIGNATURE' });
  }
  for (const text of [undefined, '', `${header} `, `Flotilla ${header}`, 'x'.repeat(9999)]) {
    const check = () => verifyReplicaCall(text, TARGET, { keys, nowMs: NOW_MS });
    assert.throws(check, { code: 'MALFORMED' });
  }
});

test('only the key for calls signs calls: neither another purpose nor another fleet', () => {
  const others = [ring.signingKey('membership'), KeyRing.create(NOW_MS).signingKey('replica')];
  for (const key of others) {
    const text = signReplicaCall(CALL, key, NOW_MS);
    assert.throws(() => verifyAt(NOW_MS, text), { code: 'UNKNOWN_KEY' });
  }
});

test('a key that was replaced signs on for no longer than clocks differ, a revoked one not', () => {
  const old = KeyRing.create(0);
  const find = (keyId: string) => old.verificationKey('replica', keyId);
  const key = old.signingKey('replica');
  const at = (nowMs: number) =>
    verifyReplicaCall(signReplicaCall(CALL, key, nowMs), TARGET, { keys: find, nowMs });
  old.retire('replica', NOW_MS);
  assert.deepEqual(at(NOW_MS + CLOCK_SKEW_MS), CALL);
  assert.throws(() => at(NOW_MS + CLOCK_SKEW_MS + 1), { code: 'EXPIRED' });
  old.revoke(key.keyId, NOW_MS);
  assert.throws(() => at(NOW_MS), { code: 'UNKNOWN_KEY' });
});
