import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import { assertRefused, BASIC, MIB, TestRegistry } from './registry-fixture.ts';

/** More than the buffers of two sockets take, so that a body is under way until it is read. */
const LARGE_BYTES = 24 * MIB;

function warnings(hub: TestRegistry): string[] {
  return hub.logged.filter(({ level }) => level === 'warn').map(({ msg }) => String(msg));
}

async function pendingFiles(hub: TestRegistry): Promise<number> {
  return (await readdir(path.join(hub.folder, 'registry', 'uploads'))).length;
}

async function sendPart(hub: TestRegistry, line: string, length: number): Promise<void> {
  const socket = await hub.connect();
  const head = `${line} HTTP/1.1\r\nHost: hub\r\nAuthorization: ${BASIC}\r\n`;
  socket.write(`${head}Content-Length: ${length}\r\n\r\n`);
  const before = await hub.metric('blob_received_bytes_total');
  socket.write(randomBytes(length - 1));
  while ((await hub.metric('blob_received_bytes_total')) < before + length - 1) {
    // oxlint-disable-next-line no-await-in-loop -- until the hub has it
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.destroy();
  await hub.idle();
}

test('a client that goes away mid-upload can go on, and is no failure in the log', async (t) => {
  const hub = await TestRegistry.start(t);
  const location = await hub.open();
  await sendPart(hub, `PATCH ${location}`, 3 * MIB);
  const status = await hub.ask(location);
  assert.equal(status.headers['range'], `0-${3 * MIB - 2}`);
  assert.deepEqual(warnings(hub), []);
  assert.equal(await hub.metric('requests_total{kind="upload",code="aborted"}'), 1);
});

test('a client that goes away mid-POST leaves nothing, for it cannot know where', async (t) => {
  const hub = await TestRegistry.start(t);
  const digest = digestOf(Buffer.from('something else'));
  await sendPart(hub, `POST /v2/team/app/blobs/uploads/?digest=${digest}`, MIB);
  assert.equal(await hub.metric('uploads_open'), 0);
  assert.equal(await pendingFiles(hub), 0);
  assert.deepEqual(warnings(hub), []);
});

test('a client that goes away mid-download ends all its requests, waiting ones too', async (t) => {
  const hub = await TestRegistry.start(t);
  const digest = await hub.push(randomBytes(LARGE_BYTES));
  const socket = await hub.connect();
  const get = `GET /v2/team/app/blobs/${digest} HTTP/1.1\r\nHost: hub\r\n\r\n`;
  socket.write(get.repeat(12));
  await once(socket, 'data');
  socket.pause();
  assert.ok((await hub.metric('requests_in_flight')) > 0);
  socket.destroy();
  await hub.idle();
  assert.deepEqual(warnings(hub), []);
});

test('a catalog that fails mid-push shows nothing, and the push can be repeated', async (t) => {
  const hub = await TestRegistry.start(t);
  const bytes = randomBytes(5 * MIB);
  const digest = digestOf(bytes);
  const broken = t.mock.method(hub.catalog, 'addBlob', async () => {
    throw new Error('disk I/O error');
  });
  const put = await hub.ask(`${await hub.open()}?digest=${digest}`, { method: 'PUT', body: bytes });
  assertRefused(put, 500, 'UNKNOWN');
  assert.doesNotMatch(put.body.toString(), /I\/O/, 'the cause is for the log');
  assert.deepEqual(warnings(hub), ['request failed']);
  assertRefused(await hub.ask(`/v2/team/app/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
  broken.mock.restore();
  await hub.push(bytes);
  assert.ok((await hub.ask(`/v2/team/app/blobs/${digest}`)).body.equals(bytes));
});

test('a catalog that fails at the manifest shows neither it nor its tag', async (t) => {
  const hub = await TestRegistry.start(t);
  const manifest = await imageOf(hub);
  const broken = t.mock.method(hub.catalog, 'putManifest', async () => {
    throw new Error('disk I/O error');
  });
  assertRefused(await hub.putManifest('v1', manifest), 500, 'UNKNOWN');
  assertRefused(await hub.ask('/v2/team/app/manifests/v1'), 404, 'MANIFEST_UNKNOWN');
  broken.mock.restore();
  assert.equal((await hub.putManifest('v1', manifest)).status, 201);
});

test('a store that fails ends the upload, also when the client is gone as well', async (t) => {
  const hub = await TestRegistry.start(t);
  const begin = hub.blobs.begin.bind(hub.blobs);
  t.mock.method(hub.blobs, 'begin', async () => {
    const pending = await begin();
    t.mock.method(pending, 'append', async () => {
      throw new Error('no space');
    });
    return pending;
  });
  await sendPart(hub, `PATCH ${await hub.open()}`, 1_000);
  assert.equal(await hub.metric('uploads_open'), 0);
  assert.equal(await pendingFiles(hub), 0);
});

test('a blob that storage cut short is absent, said in the log, and can be pushed', async (t) => {
  const hub = await TestRegistry.start(t);
  const bytes = randomBytes(10_000);
  const digest = await hub.push(bytes);
  const hex = digestHex(digest);
  await truncate(path.join(hub.folder, 'registry/blobs/sha256', hex.slice(0, 2), hex), 9_999);
  assertRefused(await hub.ask(`/v2/team/app/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
  assert.match(warnings(hub).join(), /the store has lost a blob/);
  const mount = `/v2/team/app/blobs/uploads/?mount=${digest}&from=team/app`;
  assert.equal((await hub.ask(mount, { method: 'POST' })).status, 202);
  await hub.push(bytes);
  assert.ok((await hub.ask(`/v2/team/app/blobs/${digest}`)).body.equals(bytes));
});

test('a blob that cannot be read to its end cuts the connection, and is logged', async (t) => {
  const hub = await TestRegistry.start(t);
  const digest = await hub.push(randomBytes(3 * MIB));
  const open = hub.blobs.open.bind(hub.blobs);
  t.mock.method(hub.blobs, 'open', async (wanted: typeof digest) => {
    const blob = await open(wanted);
    if (blob) {
      const read = blob.read.bind(blob);
      blob.read = async (into, at) => (at < MIB ? read(into, at) : 0);
    }
    return blob;
  });
  await assert.rejects(hub.ask(`/v2/team/app/blobs/${digest}`));
  await hub.idle();
  assert.deepEqual(warnings(hub), ['request failed']);
});

async function imageOf(hub: TestRegistry): Promise<object> {
  const bytes = Buffer.from('{}');
  const mediaType = 'application/vnd.oci.empty.v1+json';
  const config = { mediaType, digest: await hub.push(bytes), size: bytes.length };
  return { schemaVersion: 2, config, layers: [] };
}
