import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import {
  GRANT_MAX_MS,
  HUB_NAMESPACE,
  grantContentHash,
  signGrant,
} from '../../proto/trust/grant.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { GrantBook } from './grants.ts';
import { loneSwarm } from './lone.ts';

const FLEET = 'fleet-1';
const BLOB = digestOf(Buffer.from('a layer'));
const OTHER = digestOf(Buffer.from('another layer'));
const HOUR_MS = 3_600_000;

class Fixture {
  readonly keys = KeyRing.create(0);
  nowMs = Date.now();
  online = true;
  asked = 0;
  answer: () => GrantBundle | 'not-found' = () => this.grant();
  readonly book: GrantBook;

  constructor() {
    const trust = new TrustStore({ rootFingerprint: this.keys.fingerprint() });
    trust.load(this.keys.bundle());
    const isOnline = (): boolean => this.online;
    const fleet = {
      trust,
      fleetId: FLEET,
      get online() {
        return isOnline();
      },
      requestGrant: async () => {
        this.asked += 1;
        if (!this.online) throw new Error('the hub is down');
        return this.answer();
      },
    };
    const logger = createLogger({ level: 'silent', name: 'test' });
    const options = { outageGraceMs: HOUR_MS, now: () => this.nowMs };
    this.book = new GrantBook(options, { fleet, swarm: loneSwarm(), logger });
  }

  grant(change: { repository?: string; fleetId?: string; keys?: KeyRing } = {}): GrantBundle {
    const grant = {
      fleetId: FLEET,
      peerId: '',
      namespace: HUB_NAMESPACE,
      repository: 'team/app',
      manifestDigest: digestOf(Buffer.from('a manifest')),
      contentHash: grantContentHash([BLOB]),
      issuedAtMs: this.nowMs,
      notAfterMs: this.nowMs + GRANT_MAX_MS,
      ...change,
    };
    const key = (change.keys ?? this.keys).signingKey('grant');
    return { grant: signGrant(grant, key), digests: [BLOB] };
  }

  ensure(digest = BLOB): Promise<GrantBundle | undefined> {
    return this.book.ensure(HUB_NAMESPACE, 'team/app', digest, {});
  }
}

describe('the grants of a node', () => {
  it('are asked for once while they are fresh, and renewed in time', async () => {
    const fixture = new Fixture();
    const first = await fixture.ensure();
    assert.ok(first !== undefined);
    assert.equal(await fixture.ensure(), first);
    assert.equal(fixture.asked, 1);
    fixture.nowMs += GRANT_MAX_MS - 60_000;
    assert.notEqual(await fixture.ensure(), first);
    assert.equal(fixture.asked, 2);
  });

  it('live on for the grace, and no longer, while the hub is down', async () => {
    const fixture = new Fixture();
    const held = await fixture.ensure();
    fixture.online = false;
    fixture.nowMs += GRANT_MAX_MS + HOUR_MS - 1000;
    assert.equal(await fixture.ensure(), held);
    fixture.nowMs += 2000;
    assert.equal(await fixture.ensure(), undefined);
  });

  it('end when the hub says that the content is not there any more', async () => {
    const fixture = new Fixture();
    await fixture.ensure();
    fixture.nowMs += GRANT_MAX_MS - 60_000;
    fixture.answer = () => 'not-found';
    assert.equal(await fixture.ensure(), undefined);
    fixture.online = false;
    assert.equal(await fixture.ensure(), undefined, 'nor come back in an outage');
  });

  it('are not taken when they are for something else, or from somebody else', async () => {
    const fixture = new Fixture();
    for (const change of [
      { repository: 'team/other' },
      { fleetId: 'fleet-2' },
      { keys: KeyRing.create(0) },
    ]) {
      fixture.answer = () => fixture.grant(change);
      assert.equal(await fixture.ensure(), undefined);
    }
    fixture.answer = () => fixture.grant();
    assert.equal(await fixture.ensure(OTHER), undefined);
  });

  it('are relayed only when they are public and in force', async () => {
    const fixture = new Fixture();
    const held = await fixture.ensure();
    assert.equal(fixture.book.publicGrant(HUB_NAMESPACE, 'team/app', BLOB), held);
    assert.equal(fixture.book.publicGrant(HUB_NAMESPACE, 'team/other', BLOB), undefined);
    fixture.nowMs += GRANT_MAX_MS + 1;
    assert.equal(fixture.book.publicGrant(HUB_NAMESPACE, 'team/app', BLOB), undefined);
  });
});
