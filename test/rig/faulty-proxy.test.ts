import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { FaultyProxy } from './faulty-proxy.ts';
import { freePort } from './free-port.ts';

const BODY = Buffer.alloc(300_000, 7);
const HEADER_ROOM = 1000;

const origin = createServer((_request, response) => response.end(BODY));
const proxy = new FaultyProxy();
let url = '';

before(async () => {
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
  const listenPort = await freePort();
  await proxy.listen({ kind: 'proxy', listenPort, host: '127.0.0.1', port: portOf(origin) });
  url = `http://127.0.0.1:${listenPort}/`;
});

after(() => {
  proxy.close();
  origin.close();
});

async function get(): Promise<Buffer> {
  const answer = await fetch(url);
  return Buffer.from(await answer.arrayBuffer());
}

test('an answer passes unchanged while no fault is set', async () => {
  assert.deepEqual(await get(), BODY);
});

test('a flip changes one bit of one answer, and only of as many answers as asked', async () => {
  proxy.setFault({ kind: 'fault', action: 'flip', afterBytes: 100_000, times: 1 });
  const corrupted = await get();
  assert.equal(corrupted.length, BODY.length);
  const wrong = [...corrupted.entries()].filter(([, byte]) => byte !== 7);
  assert.equal(wrong.length, 1);
  assert.equal(wrong[0]?.[1], 6);
  assert.ok((wrong[0]?.[0] ?? 0) > 100_000 - HEADER_ROOM);
  assert.deepEqual(await get(), BODY);
});

test('a cut ends the connection inside the body, and the next answer is whole', async () => {
  const earlier = proxy.faultsApplied;
  proxy.setFault({ kind: 'fault', action: 'cut', afterBytes: 100_000, times: 1 });
  await assert.rejects(get());
  assert.equal(proxy.faultsApplied, earlier + 1);
  assert.deepEqual(await get(), BODY);
});

function portOf(server: { address(): AddressInfo | string | null }): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not a TCP server');
  return address.port;
}
