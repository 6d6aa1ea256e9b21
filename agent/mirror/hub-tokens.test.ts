import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { HubTokens } from './hub-tokens.ts';

const NOW_MS = 1_700_000_000_000;
const LIFE_S = 300;

function node() {
  const ring = KeyRing.create(NOW_MS);
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  const clock = { nowMs: NOW_MS };
  return { ring, trust, clock, tokens: new HubTokens({ now: () => clock.nowMs }, { trust }) };
}

/** As the hub signs them, by an independent program. */
async function bearer(key: SigningKey, claims: object = {}, aud = 'flotilla'): Promise<string> {
  const access = [{ type: 'repository', name: 'own/app', actions: ['pull'] }];
  const kid = key.keyId.toString('hex');
  const token = await new SignJWT({ access, epoch: '1', ...claims })
    .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'JWT' })
    .setIssuer('flotilla')
    .setAudience(aud)
    .setSubject('account:ada')
    .setIssuedAt(NOW_MS / 1000)
    .setExpirationTime(NOW_MS / 1000 + LIFE_S)
    .sign(key.privateKey);
  return `Bearer ${token}`;
}

test('a token of the hub is read without the hub, for its repository until its end', async () => {
  const { ring, tokens, clock } = node();
  const token = await bearer(ring.signingKey('token'));
  assert.equal(tokens.mayRead(token, 'own/app'), true);
  assert.equal(tokens.mayRead(token, 'own/other'), false);
  clock.nowMs += LIFE_S * 1000 - 1;
  assert.equal(tokens.mayRead(token, 'own/app'), true);
  clock.nowMs += 1;
  assert.equal(tokens.mayRead(token, 'own/app'), false);
});

test('nothing else is a right', async () => {
  const { ring, tokens } = node();
  const key = ring.signingKey('token');
  const push = [{ type: 'repository', name: 'own/app', actions: ['push'] }];
  const other = [{ type: 'registry', name: 'own/app', actions: ['pull'] }];
  const wrong = [
    undefined,
    '',
    'Basic b3duL2FwcA==',
    'Bearer x.y.z',
    await bearer(KeyRing.create(NOW_MS).signingKey('token')),
    await bearer(ring.signingKey('grant')),
    await bearer(key, {}, 'other.example'),
    await bearer(key, { access: push }),
    await bearer(key, { access: other }),
    await bearer(key, { access: 'own/app' }),
  ];
  for (const header of wrong) assert.equal(tokens.mayRead(header, 'own/app'), false, header);
});

test('a revoked key ends its tokens, though they were read before', async () => {
  const { ring, trust, tokens } = node();
  const key = ring.signingKey('token');
  const token = await bearer(key);
  assert.equal(tokens.mayRead(token, 'own/app'), true);
  ring.retire('token', NOW_MS);
  trust.load(ring.bundle());
  assert.equal(tokens.mayRead(token, 'own/app'), true, 'one that was replaced does not');
  ring.revoke(key.keyId, NOW_MS);
  trust.load(ring.bundle());
  assert.equal(tokens.mayRead(token, 'own/app'), false);
});
