import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { API_BODY_MS, BODY_WINDOW_BYTES_MIN, BODY_WINDOW_MS } from './constants.ts';
import { createHttpMetrics } from './metrics.ts';
import { startServers } from './servers.ts';
import { SlowBodies } from './slow-bodies.ts';

const LENGTH = 10 * BODY_WINDOW_BYTES_MIN;

/** A request whose body has not come yet, and the server's side of it. */
async function begun(t: TestContext, path: string, headers = `content-length: ${LENGTH}`) {
  const clock = { nowMs: 0 };
  const metrics = createHttpMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }));
  const bodies = new SlowBodies({ now: () => clock.nowMs }, { metrics });
  const arrived = Promise.withResolvers<IncomingMessage>();
  const servers = await startServers(
    { listen: ['127.0.0.1:0'] },
    {
      listener: (request) => arrived.resolve(request),
      bodies,
      logger: createLogger({ level: 'silent', name: 'test' }),
    },
  );
  const client = connect(Number(new URL(servers.urls[0] ?? '').port), '127.0.0.1');
  client.on('error', () => {});
  t.after(async () => {
    client.destroy();
    await servers.close();
    bodies[Symbol.dispose]();
  });
  client.write(`POST ${path} HTTP/1.1\r\nhost: hub\r\n${headers}\r\n\r\n`);
  const request = await arrived.promise;
  /** Sends so many bytes, and waits until the server has taken them. */
  const send = async (bytes: number): Promise<void> => {
    const wanted = request.socket.bytesRead + bytes;
    client.write(Buffer.alloc(bytes));
    while (request.socket.bytesRead < wanted) await once(request, 'data');
  };
  const later = (ms: number): boolean => {
    clock.nowMs += ms;
    bodies.sweep();
    return request.socket.destroyed;
  };
  return {
    request,
    client,
    send,
    later,
    cut: async () => (await metrics.slowBodies.get()).values[0]?.value,
  };
}

test('an upload that brings too little in a window is cut', async (t) => {
  const { request, send, later, cut } = await begun(t, '/v2/a/b/blobs/uploads/x');
  request.resume();
  await send(BODY_WINDOW_BYTES_MIN - 1);
  assert.equal(later(BODY_WINDOW_MS - 1), false);
  assert.equal(later(1), true);
  assert.equal(await cut(), 1);
});

test('an upload that goes on is not cut, however long it takes', async (t) => {
  const { request, send, later } = await begun(t, '/v2/a/b/blobs/uploads/x');
  request.resume();
  for (let n = 0; n < 5; n += 1) {
    await send(BODY_WINDOW_BYTES_MIN);
    assert.equal(later(BODY_WINDOW_MS), false);
  }
});

test('an upload whose request names the whole URL has the time of one', async (t) => {
  const { request, later } = await begun(t, 'http://hub.example:7400/v2/a/b/blobs/uploads/x');
  request.resume();
  assert.equal(request.url, '/v2/a/b/blobs/uploads/x');
  assert.equal(later(BODY_WINDOW_MS - 1), false);
  assert.equal(later(1), true);
});

test('a body for the administration or the token service comes at once, or is cut', async (t) => {
  for (const path of ['/api/token', '/api/v1/accounts', FLEET_PATHS.enrol]) {
    const { request, send, later } = await begun(t, path);
    request.resume();
    await send(LENGTH - 1);
    assert.equal(later(API_BODY_MS - 1), false, path);
    assert.equal(later(1), true, path);
  }
});

test('a body without a length is watched too, a request without a body is not', async (t) => {
  const chunked = await begun(t, '/api/token', 'transfer-encoding: chunked');
  chunked.request.resume();
  assert.equal(chunked.later(API_BODY_MS), true);
  const none = await begun(t, '/api/token', 'x-any: thing');
  assert.equal(none.later(API_BODY_MS), false);
});

test('nobody is slow while the hub does not read', async (t) => {
  const { request, client, later } = await begun(t, '/v2/a/b/blobs/uploads/x');
  client.write(Buffer.alloc(LENGTH - 1));
  while (request.readableLength < request.readableHighWaterMark) await setImmediate();
  assert.equal(later(BODY_WINDOW_MS), false);
  assert.equal(later(BODY_WINDOW_MS), false, 'nor a window later');
});
