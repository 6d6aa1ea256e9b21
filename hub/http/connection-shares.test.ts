import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { networksOf } from '../fleet/address-policy.ts';
import { ConnectionShares } from './connection-shares.ts';
import { createHttpMetrics } from './metrics.ts';
import { startServers } from './servers.ts';

const MAX = 3;

function listener(_request: unknown, response: { end: (text: string) => void }): void {
  response.end('served');
}

async function isServed(socket: Socket): Promise<boolean> {
  if (socket.closed) return false;
  socket.write('GET / HTTP/1.1\r\nhost: hub\r\n\r\n');
  return Promise.race([
    once(socket, 'data').then(() => true),
    once(socket, 'close').then(() => false),
  ]);
}

/** Shares of three, and what is logged of them. */
function sharesOf(trustedProxies: string[] = []) {
  const logged: Record<string, unknown>[] = [];
  const write = (line: string): void => void logged.push(JSON.parse(line));
  const logger = createLogger({ level: 'warn', name: 'test' }, { write });
  const metrics = createHttpMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }));
  const options = { perAddressMax: MAX, trustedProxies: networksOf(trustedProxies), now: () => 0 };
  const shares = new ConnectionShares(options, { metrics, logger });
  return { shares, logged, logger, metrics };
}

/** A server with such shares, and connections to it that end with the test. */
async function started(t: TestContext, trustedProxies: string[] = []) {
  const { shares, logged, logger, metrics } = sharesOf(trustedProxies);
  const listen = ['127.0.0.1:0'];
  const servers = await startServers({ listen }, { listener, shares, logger });
  t.after(() => servers.close());
  const { port } = new URL(servers.urls[0] ?? '');
  const open = async (from = '127.0.0.1'): Promise<Socket> => {
    const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress: from });
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { open, logged, refused: () => metrics.refusedConnections.get() };
}

test('above its share an address is served no more, others are', async (t) => {
  const { open, logged, refused } = await started(t);
  const own = [];
  for (let n = 0; n < MAX; n += 1) {
    const socket = await open();
    assert.ok(await isServed(socket));
    own.push(socket);
  }
  for (let n = 0; n < 5; n += 1) assert.ok(!(await isServed(await open())));
  assert.ok(await isServed(await open('127.0.0.2')));
  assert.equal((await refused()).values[0]?.value, 5);
  assert.equal(logged.length, 1, 'one line, however many there are');
  own[0]?.destroy();
  // The end of a connection is not seen at once.
  for (;;) if (await isServed(await open())) break;
});

test('a trusted proxy has no share: it speaks for many', async (t) => {
  const { open } = await started(t, ['127.0.0.0/8']);
  const all = await Promise.all(Array.from({ length: 3 * MAX }, () => open()));
  const served = await Promise.all(all.map(isServed));
  assert.ok(served.every(Boolean));
});

test('of IPv6 a network of 64 bits has a share, however its addresses are written', () => {
  const networks = [
    ['2001:db8::1', '2001:db8::2', '2001:db8::a:b:c:d', '2001:db8:0:0:9::'],
    ['2001:db8:0:1::1', '2001:db8:0:1::2', '2001:db8:0:1::3', '2001:db8:0:1::4'],
    ['fe80::1%eth0', 'fe80::2%eth0', 'fe80::3%eth1', 'fe80::4%eth1'],
    ['10.0.0.1', '::ffff:10.0.0.1', '::ffff:10.0.0.1', '10.0.0.1'],
  ];
  const { shares } = sharesOf();
  const isAdmitted = (remoteAddress: string): boolean => {
    const socket = new Socket();
    Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
    shares.admit(socket);
    return !socket.destroyed;
  };
  for (const addresses of networks) {
    assert.deepEqual(addresses.map(isAdmitted), [true, true, true, false], addresses[0]);
  }
  assert.ok(isAdmitted('::ffff:10.0.0.2'));
});
