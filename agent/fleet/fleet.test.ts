import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { grantContentHash, signGrant } from '../../proto/trust/grant.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { libp2pKeyOf, loadIdentity } from './identity.ts';
import { Bench, DAY_MS, signal, TestPeer, until } from './test-bench.ts';
import { FLEET_ID, TestHub } from './test-hub.ts';

function rejectsWith(code: string): (err: unknown) => boolean {
  return (err) => hasCode(err, code);
}

test('a node enrols as soon as the hub answers, and is a member again without it', async () => {
  await using bench = new Bench();
  const hub = await new TestHub().start();
  const enrol = hub.handlers[FLEET_PATHS.enrol];
  assert.ok(enrol);
  let refusals = 1;
  hub.handlers[FLEET_PATHS.enrol] = (...input) =>
    refusals-- > 0 ? { status: 503, body: {} } : enrol(...input);
  const other = hub.membership({ peerId: (await new TestPeer().load()).peerId, node: 'other' });
  hub.handlers[FLEET_PATHS.members] = () => ({
    body: { version: 5, memberships: [other.toString('base64')], revokedSerials: [] },
  });
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  await until(fleet, () => fleet.members.version === 5);
  assert.equal(fleet.fleetId, FLEET_ID);
  assert.equal(fleet.online, true);
  await bench.stop();
  await hub[Symbol.asyncDispose]();

  const again = await bench.open({ url: hub.url });
  assert.ok(again);
  assert.equal(again.enrolled, true);
  assert.equal(again.online, false);
  assert.equal(again.graceMs(), DAY_MS);
  assert.deepEqual(
    again.members.list().map((member) => member.node),
    ['other'],
  );
  assert.deepEqual(again.hubNames, ['hub.example']);
  await assert.rejects(again.announce([], signal()), rejectsWith('HUB_UNREACHABLE'));
});

test('a list of changes adds to the known members, a whole one replaces them', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const others = await Promise.all([0, 1, 2].map(() => new TestPeer().load()));
  const [first = '', second = '', third = ''] = others.map(({ peerId }, at) =>
    hub.membership({ peerId, node: `other-${at}` }).toString('base64'),
  );
  const whole = { version: 5, memberships: [first], revokedSerials: [] };
  const answers = [
    whole,
    { version: 6, since: 5, memberships: [second], revokedSerials: [] },
    { version: 7, memberships: [third], revokedSerials: [] },
  ];
  const asked: string[] = [];
  hub.handlers[FLEET_PATHS.members] = (_body, { url }) => {
    asked.push(url.split('?')[1] ?? '');
    return { body: answers.shift() ?? { version: 7 } };
  };
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken(), pollMs: 20 });
  const nodes = (): string =>
    fleet.members
      .list()
      .map(({ node }) => node)
      .toSorted()
      .join();
  const seen = new Set<string>();
  await until(fleet, () => seen.add(nodes()).has('other-2'));
  assert.ok(seen.has('other-0,other-1'));
  assert.deepEqual(asked.slice(0, 3), ['version=0', 'version=5&delta=1', 'version=6&delta=1']);
});

test('a member whose key this node has not heard of yet is not lost', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const others = await Promise.all([0, 1].map(() => new TestPeer().load()));
  const members = (version: number, at: number): { version: number; memberships: string[] } => {
    const peerId = others[at]?.peerId ?? '';
    const bytes = hub.membership({ peerId, node: `other-${at}` });
    return { version, memberships: [bytes.toString('base64')] };
  };
  let told: object = { ...members(5, 0), revokedSerials: [] };
  hub.handlers[FLEET_PATHS.members] = (_body, { url }) => ({
    body: url.includes('version=6') ? { version: 6 } : told,
  });
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken(), pollMs: 20 });
  await until(fleet, () => fleet.members.list().length === 1);
  hub.ring.retire('membership', Date.now());
  told = { ...members(6, 1), since: 5, revokedSerials: [] };
  await until(fleet, () => fleet.members.list().length === 2);
  assert.equal(fleet.members.version, 6);
});

test('changes since another version than ours are not taken for the whole list', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const others = await Promise.all([0, 1].map(() => new TestPeer().load()));
  const [first = '', second = ''] = others.map(({ peerId }, at) =>
    hub.membership({ peerId, node: `other-${at}` }).toString('base64'),
  );
  hub.handlers[FLEET_PATHS.members] = (_body, { url }) => {
    const isPart = url.includes('delta');
    const memberships = isPart ? [second] : [first, second];
    const version = url.includes('version=0') ? 5 : 7;
    return { body: { version, memberships, revokedSerials: [], ...(isPart && { since: 6 }) } };
  };
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken(), pollMs: 20 });
  await until(fleet, () => fleet.members.version === 7);
  assert.equal(fleet.members.list().length, 2);
});

function refusal(code: string): object {
  return { error: { code, message: 'later' } };
}

test('a hub that is busy is not gone, so that rights do not outlive their end', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  for (const [status, body, online] of [
    [503, refusal('BUSY'), true],
    [500, refusal('INTERNAL'), false],
    [429, {}, true],
    [503, {}, false],
    [502, {}, false],
  ] as const) {
    hub.handlers[FLEET_PATHS.announce] = () => ({ status, body });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(fleet.announce([], signal()), rejectsWith('HUB_STATUS'));
    assert.deepEqual(
      [status, fleet.online, fleet.graceMs()],
      [status, online, online ? 0 : DAY_MS],
    );
  }
});

test('keys of another root than the join token names are refused', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const stranger = KeyRing.create(Date.now());
  const token = hub.joinToken().replace(/[0-9a-f]{64}$/, stranger.fingerprint());
  const fleet = await bench.open({ url: hub.url, joinToken: token });
  assert.ok(fleet);
  fleet.start({ libp2pPort: 7412 });
  await until(fleet, () => fleet.status().lastError !== undefined);
  assert.equal(fleet.enrolled, false);
  assert.match(fleet.status().lastError ?? '', /fingerprint/);
});

test('members that do not verify or are revoked are not members', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  await using liar = new TestHub();
  const peers = await Promise.all([1, 2, 3].map(() => new TestPeer().load()));
  const [good, revoked, forged] = peers.map(({ peerId }) => peerId);
  assert.ok(good !== undefined && revoked !== undefined && forged !== undefined);
  const memberships = [
    hub.membership({ peerId: good, serial: 100 }),
    hub.membership({ peerId: revoked, serial: 101 }),
    liar.membership({ peerId: forged, serial: 102 }),
  ].map((bytes) => bytes.toString('base64'));
  hub.handlers[FLEET_PATHS.members] = (_body, { url }) =>
    url.endsWith('version=0')
      ? { body: { version: 7, memberships, revokedSerials: [101] } }
      : { body: { version: 7 } };
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  await until(fleet, () => fleet.members.version === 7);
  assert.deepEqual(
    fleet.members.list().map((member) => member.peerId),
    [good],
  );
});

test('a membership is renewed when a third of its life is over, and not before', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const clock = { nowMs: Date.now() };
  const options = { url: hub.url, joinToken: hub.joinToken(), pollMs: 5 };
  const fleet = await bench.enrolled({ ...options, now: () => clock.nowMs });
  const before = fleet.members.own?.membership.serial;
  const renewals = (): number => hub.calls.filter((call) => call.path === FLEET_PATHS.renew).length;
  clock.nowMs += 2 * DAY_MS;
  const polls = hub.calls.length;
  const polled = Promise.withResolvers<void>();
  hub.handlers[FLEET_PATHS.members] = () => {
    if (hub.calls.length > polls + 4) polled.resolve();
    return { body: { version: 0 } };
  };
  await polled.promise;
  assert.equal(renewals(), 0);
  clock.nowMs += DAY_MS;
  await until(fleet, () => fleet.members.own?.membership.serial !== before);
  assert.equal(renewals(), 1);
});

test('a node that starts again tells the hub its port', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const first = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  const before = first.members.own?.membership.serial;
  await bench.stop();
  const again = await bench.open({ url: hub.url });
  assert.ok(again);
  again.start({ libp2pPort: 9_999 });
  await until(again, () => again.members.own?.membership.serial !== before);
  const renewal = hub.calls.find((call) => call.path === FLEET_PATHS.renew);
  assert.equal(renewal?.body['libp2pPort'], 9_999);
});

test('an announcement carries the bitmaps and brings back verified peers only', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  await using liar = new TestHub();
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  const [good, banned, forged] = await Promise.all([1, 2, 3].map(() => new TestPeer().load()));
  assert.ok(good && banned && forged);
  fleet.start({ libp2pPort: 7412, excluded: (peerId) => peerId === banned.peerId });
  const digest = digestOf(Buffer.from('layer'));
  hub.handlers[FLEET_PATHS.announce] = (_body, { peerId }) => ({
    body: {
      intervalMs: 1_000,
      downloads: [
        {
          digest,
          peers: [
            hub.membership(good),
            hub.membership({ peerId }),
            hub.membership(banned),
            liar.membership(forged),
          ].map((bytes) => bytes.toString('base64')),
          hubChunks: [3, 1],
          crossings: [7, 2],
          retryAfterMs: 250,
        },
      ],
    },
  });
  const have = new ChunkBitmap(9);
  have.set(8);
  const origin = { namespace: 'hub', repository: 'team/app', digest, size: 9 * 1024 * 1024 };
  const wishes = { hubChunksWanted: 4, crossingsWanted: [7, 5, 2] };
  const item = { ...origin, complete: false, have, ...wishes };
  const [result] = await fleet.announce([item], { ...signal(), full: true });
  assert.deepEqual(
    result?.peers.map((peer) => peer.peerId),
    [good.peerId],
  );
  assert.deepEqual(result?.hubChunks, [3, 1]);
  assert.deepEqual(result?.crossings, [7, 2]);
  const call = hub.calls.find(({ path }) => path === FLEET_PATHS.announce);
  assert.deepEqual(call?.body, {
    full: true,
    downloads: [{ ...origin, complete: false, have: 'AAE=', ...wishes }],
  });
  assert.equal(call?.peerId, fleet.identity.peerId);
});

test('a grant of the hub is verified before it is believed', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  const digest = digestOf(Buffer.from('layer'));
  const ask = () => fleet.requestGrant('hub', 'team/app', digest, signal());
  assert.equal(await ask(), 'not-found');

  const issuedAtMs = Date.now();
  const grant = {
    fleetId: FLEET_ID,
    peerId: fleet.identity.peerId,
    namespace: 'hub',
    repository: 'team/app',
    manifestDigest: digestOf(Buffer.from('manifest')),
    contentHash: grantContentHash([digest]),
    issuedAtMs,
    notAfterMs: issuedAtMs + 60_000,
  };
  const give = (ring: KeyRing) => {
    const bytes = signGrant(grant, ring.signingKey('grant'));
    hub.handlers[FLEET_PATHS.grants] = () => ({
      body: { grant: bytes.toString('base64'), digests: [digest] },
    });
    return bytes;
  };
  const bytes = give(hub.ring);
  assert.deepEqual(await ask(), { grant: bytes, digests: [digest] });
  give(KeyRing.create(Date.now()));
  await assert.rejects(ask(), rejectsWith('HUB_ANSWER_INVALID'));
});

test('an answer that is not what the schema says is a fault of the hub', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  hub.handlers[FLEET_PATHS.announce] = () => ({ body: { downloads: 'many' } });
  await assert.rejects(fleet.announce([], signal()), rejectsWith('HUB_ANSWER_INVALID'));
});

test('a call that the hub takes for a replay is made again', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  let replays = 2;
  hub.handlers[FLEET_PATHS.announce] = () =>
    replays-- > 0
      ? { status: 409, body: { error: { code: 'REPLAYED', message: 'time is not later' } } }
      : { body: { intervalMs: 1_000, downloads: [] } };
  assert.deepEqual(await fleet.announce([], signal()), []);
});

test('a clock that was far ahead and is set back costs no call', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const clock = { nowMs: Date.now() };
  const now = (): number => clock.nowMs;
  const times: number[] = [];
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken(), now });
  hub.handlers[FLEET_PATHS.announce] = (_body, { timeMs }) => {
    times.push(timeMs);
    return { body: { intervalMs: 1_000, downloads: [] } };
  };
  const startMs = clock.nowMs;
  clock.nowMs += DAY_MS;
  await fleet.announce([], signal());
  clock.nowMs = startMs;
  await fleet.announce([], signal());
  assert.ok((times[1] ?? 0) - startMs < 5 * 60_000, `the call says ${times[1]} at ${startMs}`);
});

test('a 404 of something in front of the hub takes no grant away', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  const digest = digestOf(Buffer.from('layer'));
  hub.handlers[FLEET_PATHS.grants] = () => ({ status: 404, body: { message: 'no route' } });
  const asked = fleet.requestGrant('hub', 'team/app', digest, signal());
  await assert.rejects(asked, rejectsWith('HUB_STATUS'));
});

test('plain http is for loopback, unless the operator says otherwise', async () => {
  await using bench = new Bench();
  await using hub = new TestHub();
  const joinToken = hub.joinToken();
  const open = (url: string, allowPlainHttp = false) =>
    bench.open({ url, allowPlainHttp, joinToken });
  await assert.rejects(open('http://hub.example:7400'), rejectsWith('PLAIN_HTTP_REFUSED'));
  await assert.rejects(open('http://127.0.0.1.example'), rejectsWith('PLAIN_HTTP_REFUSED'));
  await assert.rejects(open('ftp://hub.example'), rejectsWith('HUB_URL_INVALID'));
  await assert.rejects(open('https://hub.example/path'), rejectsWith('HUB_URL_INVALID'));
  assert.ok(await open('http://hub.example:7400', true));
  assert.ok(await open('http://[::1]:7400'));
  assert.ok(await open('https://hub.example'));
});

test('a node without membership and token has no fleet, and a bad token says so', async () => {
  await using bench = new Bench();
  assert.equal(await bench.open({ url: 'https://hub.example' }), undefined);
  const open = bench.open({ url: 'https://hub.example', joinToken: 'sesame' });
  await assert.rejects(open, rejectsWith('JOIN_TOKEN_INVALID'));
});

test('the identity is private, survives restarts and is the libp2p identity', async () => {
  await using bench = new Bench();
  const folder = await bench.folder();
  const identity = await loadIdentity(folder);
  const path = join(folder, 'identity.key');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await loadIdentity(folder)).peerId, identity.peerId);
  const key = await libp2pKeyOf(identity);
  assert.equal(key.publicKey.toString(), identity.peerId);
  await writeFile(path, 'not a key');
  await assert.rejects(loadIdentity(folder), rejectsWith('IDENTITY_UNREADABLE'));
});

test('the folder of a new identity is on the disk before the identity is used', async () => {
  await using bench = new Bench();
  const parent = await bench.folder();
  const synced: string[] = [];
  await loadIdentity(join(parent, 'node'), {
    makeFolder: (path) => nodeFolderOps.makeFolder(path),
    syncFolder: async (path) => void synced.push(path),
  });
  assert.ok(synced.includes(parent), synced.join());
});
