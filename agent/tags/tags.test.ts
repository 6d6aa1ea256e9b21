import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { signTagStatement, type TagName } from '../../proto/trust/tag-statement.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { FakeSwarm } from '../fetch/swarm-fixture.ts';
import { TAG_ASKS_MAX, TAG_FRESH_MS } from './constants.ts';
import { createTagMetrics } from './metrics.ts';
import { TagBook } from './tag-book.ts';
import { Tags } from './tags.ts';

const START_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const FLEET_ID = 'fleet-1';
const NAME: TagName = { namespace: 'hub', repository: 'team/app', tag: 'v1' };
const ONE = digestOf(Buffer.from('one'));
const TWO = digestOf(Buffer.from('two'));

function bench() {
  const clock = { nowMs: START_MS };
  const now = (): number => clock.nowMs;
  const ring = KeyRing.create(0);
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  const swarm = new FakeSwarm();
  const signed = (digest: Digest, timeMs: number, name = NAME, keys = ring): Buffer =>
    signTagStatement({ fleetId: FLEET_ID, ...name, digest, timeMs }, keys.signingKey('tag'));
  /** What the hub says when asked, and the names it was asked for. */
  const hub = {
    online: true,
    trust,
    fleetId: FLEET_ID,
    asked: [] as string[],
    digest: ONE as Digest | undefined,
    requestTag: async (name: TagName): Promise<Buffer | 'not-found'> => {
      hub.asked.push(name.tag);
      if (!hub.online) throw new Error('nobody there');
      return hub.digest === undefined ? 'not-found' : signed(hub.digest, clock.nowMs, name);
    },
  };
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const book = new TagBook({ now }, { trust, fleetId: () => FLEET_ID });
  const tagMetrics = createTagMetrics(metrics, () => book.size);
  const logger = createLogger({ level: 'silent', name: 'test' });
  const tags = new Tags({ now }, { book, hub, swarm, metrics: tagMetrics, logger });
  const newest = () => tags.newest(NAME, HOUR_MS, {});
  return { clock, ring, swarm, signed, hub, book, tags, newest };
}

/** The background work of `resolved` is done. */
async function settled(tags: Tags): Promise<void> {
  await tags.close();
}

test('what the hub resolved is asked for, and told within its age', async () => {
  const { clock, tags, newest } = bench();
  tags.resolved(NAME, ONE);
  await settled(tags);
  const stated = { digest: ONE, timeMs: START_MS, source: 'own' };
  assert.deepEqual(await newest(), stated);
  clock.nowMs += HOUR_MS;
  assert.deepEqual(await newest(), stated);
  clock.nowMs += 1;
  assert.equal(await newest(), undefined);
});

test('the hub is asked once while a statement is fresh and right', async () => {
  const { clock, hub, book, tags, signed } = bench();
  book.take(signed(ONE, START_MS));
  clock.nowMs += TAG_FRESH_MS - 1;
  tags.resolved(NAME, ONE);
  assert.deepEqual(hub.asked, []);
  tags.resolved(NAME, TWO);
  tags.resolved(NAME, TWO);
  tags.resolved(NAME, undefined);
  assert.deepEqual(hub.asked, ['v1'], 'another digest, and no question beside another');
  for (let i = 0; i < 3 * TAG_ASKS_MAX; i += 1) tags.resolved({ ...NAME, tag: `t${i}` }, ONE);
  assert.equal(hub.asked.length, TAG_ASKS_MAX, 'a bounded number at a time');
  await settled(tags);
});

test('the newest statement counts, whether it is here or with a peer', async () => {
  const { swarm, signed, book, newest } = bench();
  book.take(signed(ONE, START_MS - 10));
  swarm.answers.set('old', { tag: async () => signed(TWO, START_MS - 20) });
  swarm.answers.set('new', { tag: async () => signed(TWO, START_MS - 5) });
  swarm.answers.set('none', {});
  swarm.answers.set('gone', undefined);
  assert.deepEqual(await newest(), { digest: TWO, timeMs: START_MS - 5, source: 'peer' });
  assert.deepEqual(swarm.bans, []);
  swarm.linked.length = 0;
  assert.equal((await newest())?.digest, TWO);
  assert.deepEqual(swarm.linked, [], 'peers are not asked over and over for what is here');
});

test('a peer that passes on what the hub did not sign about this name is banned', async () => {
  const { swarm, signed, newest } = bench();
  const broken = signed(ONE, START_MS);
  broken.fill(0, broken.length - 8);
  swarm.answers.set('forges', { tag: async () => broken });
  swarm.answers.set('babbles', { tag: async () => Buffer.from('no statement') });
  swarm.answers.set('swaps', { tag: async () => signed(ONE, START_MS, { ...NAME, tag: 'v2' }) });
  assert.equal(await newest(), undefined);
  assert.deepEqual(swarm.bans.map(({ peerId, reason }) => `${peerId} ${reason}`).toSorted(), [
    'babbles tag-invalid',
    'forges tag-invalid',
    'swaps tag-invalid',
  ]);
});

test('a peer is not banned for a key or a clock that differs from ours', async () => {
  const { swarm, signed, newest } = bench();
  const other = KeyRing.create(0);
  swarm.answers.set('key', { tag: async () => signed(ONE, START_MS, NAME, other) });
  swarm.answers.set('clock', { tag: async () => signed(ONE, START_MS + HOUR_MS) });
  assert.equal(await newest(), undefined);
  assert.deepEqual(swarm.bans, []);
});

test('a peer gets what is held, unless the hub has said otherwise', async () => {
  const { hub, book, tags, signed } = bench();
  assert.equal(tags.tagStatement(NAME), undefined);
  const bytes = signed(ONE, START_MS);
  book.take(bytes);
  assert.deepEqual(tags.tagStatement(NAME), { bytes, digest: ONE });
  hub.online = false;
  tags.resolved(NAME, TWO);
  await settled(tags);
  assert.equal(tags.tagStatement(NAME), undefined);
});

test('what the last run left is verified again', async () => {
  const { tags, signed, newest } = bench();
  const foreign = signed(TWO, START_MS, NAME, KeyRing.create(0));
  tags.restore([Buffer.from('damaged'), foreign, signed(ONE, START_MS - 1)]);
  assert.deepEqual(await newest(), { digest: ONE, timeMs: START_MS - 1, source: 'own' });
});
