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
import type { Grant, GrantBundle } from '../../proto/trust/grant.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { peerIdFromPublicKey } from '../../proto/trust/peer-id.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { GrantBook } from './grants.ts';
import { loneSwarm } from './lone.ts';

const FLEET = 'fleet-1';
const BLOB = digestOf(Buffer.from('a layer'));
const OTHER = digestOf(Buffer.from('another layer'));
const OWN = peerIdFromPublicKey(Buffer.alloc(32, 1));
const HOUR_MS = 3_600_000;

class Fixture {
  readonly keys = KeyRing.create(0);
  nowMs = Date.now();
  online = true;
  asked = 0;
  answer: () => GrantBundle | 'not-found' = () => this.grant();
  changes = 0;
  readonly book: GrantBook;
  /** The book of the next run, over the same hub. */
  readonly next: () => GrantBook;

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
    const onChange = (): void => void (this.changes += 1);
    const options = { outageGraceMs: HOUR_MS, now: () => this.nowMs, onChange };
    const swarm = { ...loneSwarm(), peerId: OWN };
    this.next = () => new GrantBook(options, { fleet, swarm, logger });
    this.book = this.next();
  }

  grant(change: Partial<Grant> & { keys?: KeyRing } = {}): GrantBundle {
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

  it('outlive the end of the agent, as far as they are public and would have held', async () => {
    const fixture = new Fixture();
    const held = await fixture.ensure();
    assert.equal(fixture.changes, 1);
    const forged = new Fixture();
    await forged.ensure();
    const kept = [Buffer.from('damaged'), ...forged.book.kept(), ...fixture.book.kept()];
    const next = fixture.next();
    next.restore(kept);
    fixture.online = false;
    fixture.nowMs += GRANT_MAX_MS + HOUR_MS - 1000;
    const [place, other] = ['team/app', 'team/other'];
    assert.deepEqual(next.publicGrant(HUB_NAMESPACE, place, BLOB), held);
    assert.equal(next.publicGrant(HUB_NAMESPACE, other, BLOB), undefined);
    assert.equal(next.size, 1);
    fixture.nowMs += 2 * HOUR_MS;
    const late = fixture.next();
    late.restore(kept);
    assert.equal(late.size, 0);
    assert.deepEqual(next.kept(), []);
  });

  it('are not kept when they are personal, or taken back', async () => {
    const fixture = new Fixture();
    fixture.answer = () => fixture.grant({ peerId: OWN });
    assert.ok(await fixture.ensure());
    assert.deepEqual(fixture.book.kept(), []);
    const gone = new Fixture();
    await gone.ensure();
    gone.nowMs += GRANT_MAX_MS - 60_000;
    gone.answer = () => 'not-found';
    await gone.ensure();
    assert.deepEqual(gone.book.kept(), []);
    assert.equal(gone.changes, 2);
  });
});
