import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import type { KeyPurpose } from '../../proto/trust/keys.ts';
import { restartRing } from './restored-keys.ts';

const SIGNING = ['statement', 'membership', 'grant', 'tag', 'token', 'replica'] as const;
const NOW_MS = Date.UTC(2026, 0, 2);
const TIMES = { nowMs: NOW_MS, backupMs: NOW_MS - 60_000 };

/** Purposes whose keys of before the restore still count after it. */
function surviving(source: 'backup' | 'data folder', policy: 'locked' | 'kept'): KeyPurpose[] {
  const ring = KeyRing.create(NOW_MS);
  const before = new Map(SIGNING.map((purpose) => [purpose, ring.signingKey(purpose).keyId]));
  restartRing({ ring, source }, { policy, ...TIMES });
  return SIGNING.filter((purpose) => {
    return ring.verificationKey(purpose, before.get(purpose)?.toString('hex') ?? '');
  });
}

test('no key of a ring that may be old counts after a restore that locks rights', () => {
  // One of them may have been revoked since the backup was made.
  assert.deepEqual(surviving('backup', 'locked'), []);
  assert.deepEqual(surviving('data folder', 'locked'), ['statement']);
});

test('rights that are kept keep the keys that signed them, and no others', () => {
  assert.deepEqual(surviving('backup', 'kept'), ['statement', 'membership', 'grant', 'tag']);
});
