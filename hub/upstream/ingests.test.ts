import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { assertRefused, MIB, type TestRegistry } from '../registry/registry-fixture.ts';
import { INGEST_FIRST_BATCH_BYTES } from './pull-constants.ts';
import { bytesOf, Origin, sendRange, sendSome, startPullHub } from './pull-fixture.ts';

const APP = parseRepository('docker.io/library/app');

function pathOf(digest: Digest, repository: string = APP): string {
  return `/v2/${repository}/blobs/${digest}`;
}

async function read(hub: TestRegistry, digest: Digest, range?: string): Promise<Buffer> {
  const headers = range === undefined ? {} : { range: `bytes=${range}` };
  const { status, body } = await hub.ask(pathOf(digest), { headers });
  assert.ok(status === 200 || status === 206, `${status} ${body.toString().slice(0, 500)}`);
  return body;
}

test('a cold blob comes once, whoever asks for whatever part of it at once', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(9 * MIB + 7);
  const digest = origin.putBlob('library/app', bytes);
  const { hub, ingests } = await startPullHub(t, [origin]);
  const whole = Array.from({ length: 10 }, () => read(hub, digest));
  const part = read(hub, digest, `${5 * MIB + 3}-${7 * MIB}`);
  for (const body of await Promise.all(whole)) assert.ok(body.equals(bytes));
  assert.ok((await part).equals(bytes.subarray(5 * MIB + 3, 7 * MIB + 1)));
  assert.equal(origin.count('GET', digest), 1);
  await ingests.find(APP, digest)?.outcome;
  const { size, root, hashes } = (await hub.catalog.blob(digest)) ?? {};
  assert.equal(size, bytes.length);
  assert.ok(root && hashes, 'its chunks are known');
  assert.ok((await read(hub, digest)).equals(bytes));
  assert.equal(origin.asked.length, 1);
});

test('the beginning is read in small parts, before the first leaf is whole', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(6 * MIB);
  const digest = origin.putBlob('library/app', bytes);
  const rest = Promise.withResolvers<void>();
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, 8 * INGEST_FIRST_BATCH_BYTES);
    void rest.promise.then(() => response.end(bytes.subarray(8 * INGEST_FIRST_BATCH_BYTES)));
    return true;
  };
  const { hub, ingests } = await startPullHub(t, [origin]);
  const half = 4 * INGEST_FIRST_BATCH_BYTES;
  assert.ok((await read(hub, digest, `0-${half - 1}`)).equals(bytes.subarray(0, half)));
  assert.equal(ingests.find(APP, digest)?.leavesFrom(0).length, 0);
  rest.resolve();
  assert.ok((await read(hub, digest)).equals(bytes));
});

test('what is here is read while the rest comes, and that comes though all leave', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(6 * MIB);
  const digest = origin.putBlob('library/app', bytes);
  const rest = Promise.withResolvers<void>();
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, 2 * MIB);
    void rest.promise.then(() => response.end(bytes.subarray(2 * MIB)));
    return true;
  };
  const { hub, ingests } = await startPullHub(t, [origin]);
  assert.ok((await read(hub, digest, `0-${2 * MIB - 1}`)).equals(bytes.subarray(0, 2 * MIB)));
  const running = ingests.find(APP, digest);
  assert.ok(running);
  assert.equal(running.received, 2 * MIB);
  assert.equal(running.size, bytes.length);
  assert.equal(running.leavesFrom(0).length, 2 * 32);
  const reader = await hub.connect();
  reader.write(`GET ${pathOf(digest)} HTTP/1.1\r\nhost: hub\r\n\r\n`);
  await once(reader, 'data');
  reader.destroy();
  rest.resolve();
  assert.equal(await running.outcome, 'stored');
  assert.ok((await read(hub, digest)).equals(bytes));
  assert.equal(origin.count('GET', digest), 1);
  assert.equal(ingests.find(APP, digest), undefined);
});

test('a blob that breaks off again and again goes on from there by Range', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(5 * MIB + 1);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    if (origin.asked.length > 5) return false;
    sendSome(asked, response, bytes, MIB);
    setImmediate(() => response.destroy());
    return true;
  };
  const { hub } = await startPullHub(t, [origin]);
  assert.ok((await read(hub, digest)).equals(bytes));
  const starts = origin.asked.map(({ range }) => Number(/=(\d+)-/.exec(range ?? '=0-')?.[1]));
  assert.deepEqual(
    starts,
    starts.toSorted((a, b) => a - b),
  );
  assert.equal(starts.length, 6);
  assert.ok((await hub.metric('upstream_ingest_retries_total')) === 5);
  assert.equal(await hub.metric('upstream_ingest_bytes_total'), bytes.length);
});

test('an upstream that ignores Range is asked for all, and bytes are not mixed up', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(3 * MIB);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    delete asked.headers.range;
    if (origin.asked.length > 1) sendRange(asked, response, bytes);
    else {
      sendSome(asked, response, bytes, MIB);
      setImmediate(() => response.destroy());
    }
    return true;
  };
  const { hub } = await startPullHub(t, [origin]);
  assert.ok((await read(hub, digest)).equals(bytes));
});

const WRONG: Record<string, (bytes: Buffer) => Buffer> = {
  'other bytes': (bytes) => bytesOf(bytes.length, 'other'),
  'a page in HTML': () => Buffer.from('<html>rate limited</html>'),
  'a shorter blob': (bytes) => bytes.subarray(0, bytes.length - 1),
  'a longer blob': (bytes) => Buffer.concat([bytes, Buffer.of(0)]),
};

for (const [what, make] of Object.entries(WRONG)) {
  test(`${what} with status 200 is never stored, and its readers are cut`, async (t) => {
    const origin = await Origin.start(t);
    const bytes = bytesOf(3 * MIB);
    const digest = origin.putBlob('library/app', bytes);
    origin.blobFault = (asked, response) => {
      sendRange(asked, response, make(bytes));
      return true;
    };
    const { hub } = await startPullHub(t, [origin]);
    const first = await hub.ask(pathOf(digest)).catch(() => undefined);
    assert.equal(first, undefined, 'a body that breaks off is none');
    await hub.idle();
    assert.equal(await hub.catalog.blob(digest), undefined);
    assert.equal(await hub.blobs.stat(digest), undefined);
    assert.equal(
      await hub.metric('upstream_ingests_total{upstream="docker.io",result="wrong"}'),
      1,
    );
    const told = hub.logged.find(({ msg }) => String(msg).includes('another digest'));
    assert.equal(told?.['digest'], digest);
    assert.equal(told?.['repository'], APP);
    assertRefused(await hub.ask(pathOf(digest)), 503, 'UNAVAILABLE');
    assert.equal(origin.count('GET', digest), 1, 'not asked again at once');
  });
}

test('a size that is not that of the manifest is refused before a byte', async (t) => {
  const origin = await Origin.start(t);
  const { layer } = origin.putImage('library/app', 'latest');
  origin.blobFault = (asked, response) => {
    sendRange(asked, response, Buffer.from('<html>rate limited</html>'));
    return true;
  };
  const { hub } = await startPullHub(t, [origin]);
  assert.equal((await hub.ask(`/v2/${APP}/manifests/latest`)).status, 200);
  assertRefused(await hub.ask(pathOf(layer)), 503, 'UNAVAILABLE');
});

test('swarm-only: readers have headers at once and bytes when the digest is right', async (t) => {
  const origin = await Origin.start(t, 'docker.io', { provisional: 'swarm-only' });
  const bytes = bytesOf(3 * MIB);
  const digest = origin.putBlob('library/app', bytes);
  const rest = Promise.withResolvers<void>();
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, 2 * MIB);
    void rest.promise.then(() => response.end(bytes.subarray(2 * MIB)));
    return true;
  };
  const { hub, ingests } = await startPullHub(t, [origin]);
  const reader = await hub.connect();
  reader.write(`GET ${pathOf(digest)} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n`);
  const [head] = await once(reader, 'data');
  assert.match(String(head), /^HTTP\/1\.1 200 .*\r\n\r\n$/s);
  const running = ingests.find(APP, digest);
  assert.ok(running);
  await running.progress(2 * MIB - 1, {});
  assert.equal(running.provisional, 'swarm-only');
  const parts: Buffer[] = [];
  reader.on('data', (part) => parts.push(part));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(parts.length, 0);
  rest.resolve();
  await once(reader, 'close');
  assert.ok(Buffer.concat(parts).equals(bytes));
});

test('an upstream that never sends is given up, and says who it is', async (t) => {
  const origin = await Origin.start(t);
  const digest = origin.putBlob('library/app', bytesOf(MIB));
  origin.blobFault = (_asked, response) => {
    response.destroy();
    return true;
  };
  const { hub } = await startPullHub(t, [origin]);
  const refused = await hub.ask(pathOf(digest));
  assertRefused(refused, 503, 'UNAVAILABLE');
  assert.match(refused.body.toString(), /docker\.io/);
  assertRefused(await hub.ask(pathOf(digestOf(Buffer.from('none')))), 404, 'BLOB_UNKNOWN');
});
