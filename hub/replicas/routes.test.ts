import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { request } from 'undici';
import { bodyHashOf, signReplicaCall, type ReplicaCall } from '../../proto/trust/replica-call.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { FORWARD_BODIES_MAX_BYTES, FORWARD_MAX_BYTES } from './constants.ts';
import { forwardedOf } from './forward-body.ts';
import { FORWARD_PATH } from './forwarder.ts';
import { TestReplicas, wish, type TestReplica } from './replicas-fixture.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';

type Changes = {
  call?: Partial<ReplicaCall>;
  body?: string;
  ring?: KeyRing;
  lateMs?: number;
};

/** Two replicas, and calls of the first to the second as an attacker would make them. */
async function pairOf(t: TestContext) {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const [digest] = fleet.digestsOf('b', 1);
  const { replicas } = await fleet.store.beat({ id: '', joined: 0, seen: 0 });
  const run = (id: string) => ({
    id,
    joined: replicas.find((replica) => replica.id === id)?.joined ?? 0,
  });
  assert.ok(digest);
  const member = { peerId: 'ann', zone: '', certificate: 'AAAA' };
  const usual = JSON.stringify({
    epoch: 2,
    member,
    full: false,
    blobs: [forwardedOf(wish(digest))],
  });
  let sequence = 1000;
  const signed = ({ call, body = usual, ring = fleet.ring, lateMs = 0 }: Changes = {}): string => {
    sequence += 1;
    const target = { method: 'POST', path: FORWARD_PATH };
    const whole = {
      ...target,
      from: run('a'),
      to: run('b'),
      sequence,
      bodyHash: bodyHashOf(Buffer.from(body)),
    };
    return signReplicaCall({ ...whole, ...call }, ring.signingKey('replica'), Date.now() - lateMs);
  };
  const send = async (authorization: string | undefined, body = usual, to: TestReplica = b) => {
    const headers = { 'content-type': 'application/json' };
    const response = await request(`${to.url}${FORWARD_PATH}`, {
      method: 'POST',
      headers: authorization === undefined ? headers : { ...headers, authorization },
      body,
    });
    const text = await response.body.text();
    const { error }: { error?: { code?: string } } = JSON.parse(text);
    return [response.statusCode, error?.code];
  };
  return { fleet, a, b, run, signed, send, usual };
}

/** Headers of a call as large as they come. */
function headersOf(authorization: string): string {
  const lines = [
    `POST ${FORWARD_PATH} HTTP/1.1`,
    'host: hub',
    'content-type: application/json',
    `content-length: ${FORWARD_MAX_BYTES}`,
    `authorization: ${authorization}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

test('a call is taken once, and by the hub it is for', async (t) => {
  const { a, b, run, signed, send, usual } = await pairOf(t);
  const call = signed();
  assert.deepEqual(await send(call), [200, undefined]);
  assert.deepEqual(await send(call), [409, 'REPLAYED']);
  assert.deepEqual(await send(signed(), usual, a), [409, 'WRONG_TARGET']);
  const former = { ...run('b'), joined: run('b').joined - 1 };
  assert.deepEqual(await send(signed({ call: { to: former } })), [409, 'WRONG_TARGET']);
  assert.equal(b.tracker.stats.members, 1);
  assert.equal(a.tracker.stats.members, 0);
});

test('a call of who is no hub of the fleet does nothing', async (t) => {
  const { b, run, signed, send } = await pairOf(t);
  const call = signed();
  const other = signed({ ring: KeyRing.create(0) });
  for (const text of [undefined, 'Basic eDp5', other, call.replace('a@', 'c@'), `${call}x`]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.deepEqual(await send(text), [401, 'BAD_SIGNATURE'], text);
  }
  assert.deepEqual(await send(call, '{"another":"body"}'), [401, 'BAD_SIGNATURE']);
  const strangers = [
    { id: 'c', joined: 1 },
    { ...run('a'), joined: run('a').joined + 7 },
  ];
  for (const from of strangers) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.deepEqual(await send(signed({ call: { from } })), [409, 'NO_REPLICA']);
  }
  assert.equal(b.tracker.stats.members, 0);
});

test('a key that another hub made just now is looked for, not one that is gone', async (t) => {
  const { fleet, signed, send } = await pairOf(t);
  fleet.ring.retire('replica', Date.now());
  assert.deepEqual(await send(signed()), [200, undefined]);
  const call = signed();
  fleet.ring.revoke(fleet.ring.signingKey('replica').keyId, Date.now());
  await fleet.lookAtKeys();
  assert.deepEqual(await send(call), [401, 'BAD_SIGNATURE']);
});

test('a call that is old, or out of the future, does nothing', async (t) => {
  const { fleet, a, b, signed, send } = await pairOf(t);
  for (const lateMs of [CLOCK_SKEW_MS + 1000, -CLOCK_SKEW_MS - 1000]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.deepEqual(await send(signed({ lateMs })), [401, 'CLOCK_SKEW']);
  }
  assert.deepEqual(await send(signed({ lateMs: CLOCK_SKEW_MS - 60_000 })), [200, undefined]);
  const [digest] = fleet.digestsOf('b', 1);
  assert.ok(digest);
  fleet.skew.set('a', 2 * CLOCK_SKEW_MS);
  const { blobs } = await a.announce('ben', [wish(digest)]);
  assert.deepEqual(blobs[0]?.hubChunks, [], 'hubs with such clocks do without each other');
  assert.equal(b.tracker.stats.members, 1);
});

test('a body that is none is refused, whoever signed it', async (t) => {
  const { signed, send } = await pairOf(t);
  for (const body of ['', '{}', '[]', '{"epoch":1}', '{"epoch":-1,"member":{},"blobs":[]}']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.deepEqual(await send(signed({ body }), body), [400, 'INVALID_BODY'], body);
  }
});

test('bodies of strangers are not read, and those of hubs within bounds', async (t) => {
  const { b, signed, send } = await pairOf(t);
  const { hostname, port } = new URL(b.url);
  const open = async (authorization: string): Promise<string> => {
    const socket = connect(Number(port), hostname);
    t.after(() => socket.destroy());
    socket.write(headersOf(authorization));
    const [bytes]: Buffer[] = await once(socket, 'data');
    return String(bytes);
  };
  assert.match(await open('Basic eDp5'), /^HTTP\/1\.1 401 .*BAD_SIGNATURE/s);
  const full = FORWARD_BODIES_MAX_BYTES / FORWARD_MAX_BYTES;
  const received = async () => b.metric('replicas_received_total', { code: 'BUSY' });
  const stalled = Array.from({ length: full + 1 }, () => open(signed()));
  assert.match(await Promise.race(stalled), /^HTTP\/1\.1 503 .*BUSY/s);
  assert.equal(await received(), 1);
  assert.deepEqual((await send(signed()))[0], 503);
});

test('a hub that went while this one looked for its key leaves nothing taken', async (t) => {
  const { fleet, b, signed, send } = await pairOf(t);
  fleet.ring.retire('replica', Date.now());
  const { promise: catalog, resolve: answers } = Promise.withResolvers<void>();
  const look = fleet.lookAtKeys.bind(fleet);
  t.mock.method(fleet, 'lookAtKeys', () => catalog.then(look));
  const count = FORWARD_BODIES_MAX_BYTES / FORWARD_MAX_BYTES;
  const ends: Promise<unknown>[] = [];
  const allThere = Promise.withResolvers<void>();
  b.app.server.on('request', (_request, response) => {
    ends.push(once(response, 'close'));
    if (ends.length === count) allThere.resolve();
  });
  const { hostname, port } = new URL(b.url);
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(Number(port), hostname);
    socket.write(headersOf(signed()));
    return socket;
  });
  await allThere.promise;
  for (const socket of sockets) socket.destroy();
  await Promise.all(ends);
  answers();
  assert.deepEqual(await send(signed()), [200, undefined]);
});
