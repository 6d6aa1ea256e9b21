import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { ANNOUNCE_MAX_BYTES, FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { ANNOUNCE_BODIES_MAX_BYTES } from './constants.ts';
import { TestAgent, TestHub } from './fleet-fixture.ts';

/** Sends the headers of an announcement as large as they come, and not one byte of its body. */
function promise(open: DisposableStack, port: number, authorization: string): Socket {
  const socket = connect(port, '127.0.0.1');
  open.defer(() => socket.destroy());
  const lines = [
    `POST ${FLEET_PATHS.announce} HTTP/1.1`,
    'host: hub',
    'content-type: application/json',
    `content-length: ${ANNOUNCE_MAX_BYTES}`,
    `authorization: ${authorization}`,
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  return socket;
}

function claim(hub: TestHub, agent: TestAgent): string {
  return `Flotilla peer="${agent.peerId}",time="${hub.nowMs}",signature="${'A'.repeat(86)}"`;
}

async function answerOf(socket: Socket): Promise<string> {
  const [bytes]: Buffer[] = await once(socket, 'data');
  return String(bytes);
}

async function listening(hub: TestHub): Promise<number> {
  return Number(new URL(await hub.app.listen({ host: '127.0.0.1', port: 0 })).port);
}

test('a stranger is refused before the hub reads what it sends', async (t) => {
  const hub = await TestHub.start(t);
  using open = new DisposableStack();
  const port = await listening(hub);
  assert.match(await answerOf(promise(open, port, 'Basic eDp5')), /^HTTP\/1\.1 401 .*UNSIGNED/s);
  const stranger = claim(hub, new TestAgent());
  assert.match(await answerOf(promise(open, port, stranger)), /^HTTP\/1\.1 403 .*NOT_A_MEMBER/s);
});

test('what is read at once is bounded, and free again when a caller is gone', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  using open = new DisposableStack();
  const port = await listening(hub);
  const count = ANNOUNCE_BODIES_MAX_BYTES / ANNOUNCE_MAX_BYTES;
  const ends: Promise<unknown>[] = [];
  const allThere = Promise.withResolvers<void>();
  hub.app.server.on('request', (_request, response) => {
    ends.push(once(response, 'close'));
    if (ends.length === count) allThere.resolve();
  });
  const stalled = Array.from({ length: count }, () => promise(open, port, claim(hub, agent)));
  await allThere.promise;
  assert.match(await answerOf(promise(open, port, claim(hub, agent))), /^HTTP\/1\.1 503 .*BUSY/s);
  const announce = { full: true, downloads: [] };
  assert.equal((await hub.call(agent, 'announce', announce)).code, 'BUSY');
  for (const socket of stalled) socket.destroy();
  await Promise.all(ends.slice(0, count));
  assert.equal((await hub.call(agent, 'announce', announce)).status, 200);
});
