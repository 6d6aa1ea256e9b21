import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { BODIES_MEMORY_BYTES, BODY_MEMORY_BYTES } from './constants.ts';
import { MIB, TestRegistry } from './registry-fixture.ts';

/** Four times as many as get large buffers. */
const READERS = (4 * BODIES_MEMORY_BYTES) / BODY_MEMORY_BYTES;
/** Those that came before the memory was shared by all keep what they had. */
const HELD_MAX_BYTES = 3 * BODIES_MEMORY_BYTES;

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
  assert.ok(held < HELD_MAX_BYTES, `${held} bytes are held`);
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`);
  assert.ok(answer.body.equals(bytes), 'through small buffers too');
  for (const socket of readers) socket.destroy();
  await hub.idle();
});
