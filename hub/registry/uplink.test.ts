import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { MIB, TestRegistry } from './registry-fixture.ts';

const CALLER = 'x-caller';
const callerOf = ({ headers }: { headers: Record<string, unknown> }): string =>
  String(headers[CALLER]);

test('a body that waits has sent its headers, and keeps no place when left', async (t) => {
  const registry = await TestRegistry.start(t, { uplink: 1000, callerOf });
  const digest = await registry.push(randomBytes(2 * MIB));
  const get = async (caller: string): Promise<Socket> => {
    const socket = await registry.connect();
    const lines = [`GET /v2/team/app/blobs/${digest} HTTP/1.1`, 'host: x', `${CALLER}: ${caller}`];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    return socket;
  };
  // A link this slow is taken by the first slice for a quarter of an hour.
  const first = await get('a');
  await once(first, 'data');
  const second = await get('b');
  const [head] = await once(second, 'data');
  assert.match(String(head), /^HTTP\/1.1 200 OK\r\n[^]*content-length: 2097152\r\n[^]*\r\n\r\n$/i);
  second.destroy();
  first.destroy();
  await registry.idle();
  assert.equal(await registry.metric('uplink_slices_queued'), 0);
});

test('ranges of many callers that take turns arrive whole', async (t) => {
  const registry = await TestRegistry.start(t, { uplink: 32 * MIB, callerOf });
  const bytes = randomBytes(12 * MIB);
  const digest = await registry.push(bytes);
  const asks = Array.from({ length: 24 }, async (_, n) => {
    const start = (n % 8) * MIB + n;
    const end = start + MIB;
    const headers = { range: `bytes=${start}-${end - 1}`, [CALLER]: `node${n % 6}` };
    const answer = await registry.ask(`/v2/team/app/blobs/${digest}`, { headers });
    assert.equal(answer.status, 206);
    assert.ok(answer.body.equals(bytes.subarray(start, end)), `range ${n} differs`);
  });
  await Promise.all(asks);
  assert.ok((await registry.metric('uplink_bytes_total{way="queued"}')) > 0);
  const headers = { [CALLER]: 'node' };
  const head = await registry.ask(`/v2/team/app/blobs/${digest}`, { method: 'HEAD', headers });
  assert.equal(head.headers['content-length'], String(bytes.length));
});
