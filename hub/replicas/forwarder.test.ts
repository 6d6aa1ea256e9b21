import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { test, type TestContext } from 'node:test';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { FORWARD_ANSWER_MAX_BYTES, FORWARDS_MAX } from './constants.ts';
import { Forwarder } from './forwarder.ts';
import { createReplicaMetrics } from './metrics.ts';

const FROM = { id: 'a', joined: 1 };
const MEMBER = { peerId: 'ann', zone: '', certificate: 'AAAA' };
const REQUEST = { epoch: 2, member: MEMBER, full: true, blobs: [] };
const ANSWER = { epoch: 2, intervalMs: 1, blobs: [], certificates: {}, refused: [] };

/** A forwarder to another hub that answers in this way. */
async function rig(t: TestContext, listener: RequestListener, timeoutMs = 5000) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const gauges = { alive: () => 0, owner: () => false, epoch: () => 0 };
  const metrics = createReplicaMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }), gauges);
  const ring = KeyRing.create(0);
  const forwarder = new Forwarder(
    { now: Date.now, timeoutMs },
    { signingKey: () => ring.signingKey('replica'), metrics },
  );
  t.after(async () => {
    await forwarder.close();
    server.closeAllConnections();
    server.close();
  });
  const to = { id: 'b', url: `http://127.0.0.1:${port}`, joined: 2, beat: 0, seen: 0 };
  return { ask: () => forwarder.ask(FROM, to, REQUEST), forwarder, server };
}

test('a hub that is silent is given up in time, and then not waited for', async (t) => {
  const { ask } = await rig(t, () => undefined, 50);
  await assert.rejects(ask(), { code: 'TIMEOUT' });
  await assert.rejects(ask(), { code: 'PAUSED' });
});

test('a hub that begins to answer and stops is given up in time', async (t) => {
  const { ask } = await rig(t, (_request, response) => void response.write('{'), 50);
  await assert.rejects(ask(), { code: 'TIMEOUT' });
});

test('a hub that is gone is not waited for', async (t) => {
  const { ask, server } = await rig(t, () => undefined);
  server.close();
  await assert.rejects(ask(), { code: 'UNREACHABLE' });
  await assert.rejects(ask(), { code: 'PAUSED' });
});

test('what is no answer is told from one, and a refusal from both', async (t) => {
  const answers: [number, string, string | undefined][] = [
    [200, JSON.stringify(ANSWER), undefined],
    [200, '<html>', 'BAD_ANSWER'],
    [200, JSON.stringify({ ...ANSWER, intervalMs: null }), 'BAD_ANSWER'],
    [200, 'x'.repeat(FORWARD_ANSWER_MAX_BYTES + 1), 'BAD_ANSWER'],
    [302, '', 'BAD_ANSWER'],
    [500, '{}', 'BAD_ANSWER'],
    [503, '{}', 'BUSY'],
    [409, '{"error":{}}', 'REFUSED'],
    [200, JSON.stringify(ANSWER), undefined],
  ];
  let next: [number, string] = [200, ''];
  const { ask } = await rig(
    t,
    (_request, response) => void response.writeHead(next[0]).end(next[1]),
  );
  for (const [status, body, code] of answers) {
    next = [status, body];
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    if (code === undefined) assert.deepEqual(await ask(), ANSWER);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    else await assert.rejects(ask(), { code }, `${status} ${body.slice(0, 20)}`);
  }
});

test('so many are under way to one hub at a time, and no more', async (t) => {
  const { ask, forwarder } = await rig(t, () => undefined);
  const waiting = Array.from({ length: FORWARDS_MAX }, () => ask());
  const ends = Promise.allSettled(waiting);
  await assert.rejects(ask(), { code: 'BUSY' });
  await forwarder.close();
  const codes = (await ends).map((end) => (end.status === 'rejected' ? end.reason.code : ''));
  assert.deepEqual(new Set(codes), new Set(['UNREACHABLE']));
});
