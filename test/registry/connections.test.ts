import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { TestHub } from './test-hub.ts';

async function open(t: TestContext, hub: TestHub, begin = ''): Promise<Socket> {
  const { hostname, port } = new URL(hub.url);
  const socket = connect(Number(port), hostname);
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  if (begin !== '') socket.write(begin);
  return socket;
}

test('a thousand idle connections do no harm', async (t) => {
  await using hub = await TestHub.start();
  const begins = ['', 'GET /v2/ HTTP/1.1\r\n', 'POST /api/token HTTP/1.1\r\nhost: a\r\n'];
  const upload = 'content-length: 1000\r\nhost: a\r\n\r\nfew bytes';
  begins.push(`POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\n${upload}`);
  begins.push(`POST /api/token HTTP/1.1\r\n${upload}`);
  const idle = [];
  for (let n = 0; n < 1000; n += 1) {
    // oxlint-disable-next-line no-await-in-loop -- the backlog of a listener is short
    idle.push(await open(t, hub, begins[n % begins.length]));
  }
  const bytes = randomBytes(100_000);
  const { digest } = await hub.pushImage('v1', [bytes]);
  assert.equal((await hub.ask('/v2/team/app/manifests/v1')).status, 200);
  assert.equal((await hub.ask(`/v2/team/app/manifests/${digest}`)).status, 200);
  assert.equal((await hub.ask('/api/token?service=flotilla')).status, 200);
  assert.equal((await hub.api('GET', '/accounts')).status, 200);
  assert.ok(idle.filter(({ destroyed }) => !destroyed).length > 990, 'they were open all the time');
});

test('an address has no more connections than configured', async (t) => {
  await using hub = await TestHub.start({
    http: { listen: ['127.0.0.1:0'], connectionsPerAddress: 16 },
  });
  const all = [];
  for (let n = 0; n < 20; n += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    all.push(await open(t, hub));
  }
  const refused = all.slice(16).filter((socket) => !socket.resume().closed);
  await Promise.all(refused.map((socket) => once(socket, 'close')));
  assert.equal(all.filter(({ destroyed }) => !destroyed).length, 16);
  assert.equal(await hub.metric('connections_refused_total'), 4);
  assert.equal(await hub.metric('slow_bodies_total'), 0);
});
