import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { BODY_BUFFERS, BODY_BUFFERS_MAX_BYTES, BODY_BUFFER_BYTES } from './constants.ts';
import { MIB, TestRegistry } from './registry-fixture.ts';

/** More than get large buffers. */
const READERS = BODY_BUFFERS_MAX_BYTES / (BODY_BUFFERS * BODY_BUFFER_BYTES) + 16;

/** Asks for a blob, and takes no byte after the first. */
async function slowReader(hub: TestRegistry, digest: string): Promise<Socket> {
  const { hostname, port } = new URL(hub.url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET /v2/team/app/blobs/${digest} HTTP/1.1\r\nhost: hub\r\n\r\n`);
  await once(socket, 'data');
  socket.pause();
  return socket;
}

test('readers that take nothing hold little, and everybody else reads on', async (t) => {
  const hub = await TestRegistry.start(t);
  const bytes = randomBytes(8 * MIB);
  const digest = await hub.push(bytes);
  global.gc?.();
  const before = process.memoryUsage().arrayBuffers;
  const readers = [];
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  for (let n = 0; n < READERS; n += 1) readers.push(await slowReader(hub, digest));
  const held = process.memoryUsage().arrayBuffers - before;
  assert.ok(held < BODY_BUFFERS_MAX_BYTES + 16 * MIB, `${held} bytes are held`);
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`);
  assert.ok(answer.body.equals(bytes), 'through small buffers too');
  for (const socket of readers) socket.destroy();
  await hub.idle();
});
