import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { BODIES_MEMORY_BYTES, BODY_MEMORY_BYTES, LARGE_ANSWERS_MAX_BYTES } from './constants.ts';
import { assertRefused, MIB, TestRegistry } from './registry-fixture.ts';

/** Four times as many as get large buffers. */
const READERS = (4 * BODIES_MEMORY_BYTES) / BODY_MEMORY_BYTES;
/** Those that came before the memory was shared by all keep what they had. */
const HELD_MAX_BYTES = 3 * BODIES_MEMORY_BYTES;

/** Asks for something, and takes no byte after the first. */
async function slowReader(hub: TestRegistry, target: string): Promise<Socket> {
  const { hostname, port } = new URL(hub.url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${target} HTTP/1.1\r\nhost: hub\r\n\r\n`);
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
  for (let n = 0; n < READERS; n += 1)
    readers.push(await slowReader(hub, `/v2/team/app/blobs/${digest}`));
  const held = process.memoryUsage().arrayBuffers - before;
  assert.ok(held < HELD_MAX_BYTES, `${held} bytes are held`);
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`);
  assert.ok(answer.body.equals(bytes), 'through small buffers too');
  for (const socket of readers) socket.destroy();
  await hub.idle();
});

test('large manifests that nobody takes are bounded, and small ones go on', async (t) => {
  const hub = await TestRegistry.start(t);
  const config = await hub.push(Buffer.from('{}'));
  const mediaType = 'application/octet-stream';
  const manifest = (fill: number) => ({
    schemaVersion: 2,
    config: { mediaType, digest: config, size: 2 },
    layers: [],
    annotations: { fill: 'x'.repeat(fill) },
  });
  await hub.putManifest('large', manifest(MANIFEST_MAX_BYTES - 1000));
  await hub.putManifest('small', manifest(10));
  const target = '/v2/team/app/manifests/large';
  const readers = [];
  for (let n = 0; n < LARGE_ANSWERS_MAX_BYTES / (MANIFEST_MAX_BYTES - 1000); n += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    readers.push(await slowReader(hub, target));
  }
  const refused = await hub.ask(target);
  assertRefused(refused, 503, 'UNAVAILABLE');
  assert.match(String(refused.headers['retry-after']), /^\d+$/);
  assert.equal((await hub.ask('/v2/team/app/manifests/small')).status, 200);
  assert.equal((await hub.ask(target, { method: 'HEAD' })).status, 200, 'there is no body to take');
  for (const socket of readers) socket.destroy();
  for (;;) if ((await hub.ask(target)).status === 200) break;
});
