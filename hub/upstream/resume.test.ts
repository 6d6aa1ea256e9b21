import assert from 'node:assert/strict';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseRepository } from '../../proto/oci/name.ts';
import { KyselyUploadStore, type UploadTables } from '../catalog/upload-store.ts';
import { MIB, type TestRegistry } from '../registry/registry-fixture.ts';
import { bytesOf, Origin, sendSome, startPullHub } from './pull-fixture.ts';
import { INGEST_HOLD_MS } from './pull-constants.ts';

const APP = parseRepository('docker.io/library/app');
const SIZE = 45 * MIB + 5;
const SENT = 40 * MIB;
const PARKED = 32 * MIB;

async function stalled(t: TestContext) {
  const origin = await Origin.start(t);
  const bytes = bytesOf(SIZE);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, SENT);
    return true;
  };
  const clock = { ms: Date.now() };
  const now = (): number => clock.ms;
  const first = await startPullHub(t, [origin], { shared: true, holder: 'first', now });
  const target = `/v2/docker.io/library/app/blobs/${digest}`;
  const { hub } = first;
  const part = await hub.ask(target, { headers: { range: `bytes=0-${SENT - 1}` } });
  assert.ok(part.body.equals(bytes.subarray(0, SENT)));
  origin.blobFault = undefined;
  return { origin, bytes, digest, target, hub, clock, now };
}

function rangesOf(origin: Origin): (string | undefined)[] {
  return origin.asked.filter(({ method }) => method === 'GET').map(({ range }) => range);
}

async function letGoOf({ catalog }: TestRegistry, holder: string): Promise<void> {
  const db = catalog.db.withTables<UploadTables>();
  await new KyselyUploadStore({ shared: true }, { db }).letGoOf(holder);
}

test('what a hub had parked when it was killed is not fetched again after its start', async (t) => {
  const { origin, bytes, digest, target, hub, now } = await stalled(t);
  // As the same hub does at its start.
  await letGoOf(hub, 'first');
  const second = await startPullHub(t, [origin], { beside: hub, holder: 'first', now });
  const { hub: again, ingests } = second;
  const answer = await again.ask(target);
  assert.ok(answer.body.equals(bytes));
  assert.deepEqual(rangesOf(origin), [undefined, `bytes=${PARKED}-`]);
  await ingests.find(APP, digest)?.outcome;
  assert.equal((await again.catalog.blob(digest))?.size, SIZE);
});

test('another hub goes on when the one that had the blob is silent for long', async (t) => {
  const { origin, bytes, target, hub, clock, now } = await stalled(t);
  const holder = 'second';
  const second = { beside: hub, holder, now, shared: true, ownerWaitMs: 600 };
  const { hub: other } = await startPullHub(t, [origin], second);
  const early = await other.ask(target);
  assert.equal(early.status, 503, 'the first may be alive');
  assert.deepEqual(rangesOf(origin), [undefined]);
  clock.ms += INGEST_HOLD_MS + 1;
  const answer = await other.ask(target);
  assert.ok(answer.body.equals(bytes));
  assert.deepEqual(rangesOf(origin), [undefined, `bytes=${PARKED}-`]);
});

test('parked bytes that are not there as they were are fetched anew', async (t) => {
  const { origin, bytes, digest, target, hub, now } = await stalled(t);
  await letGoOf(hub, 'first');
  const uploads = path.join(hub.folder, 'registry', 'uploads');
  const [name = ''] = await readdir(uploads);
  await using file = await open(path.join(uploads, name), 'r+');
  await file.write(Buffer.of(7), 0, 1, 3 * MIB + 5);
  const second = await startPullHub(t, [origin], { beside: hub, holder: 'first', now });
  const { hub: again, ingests } = second;
  await assert.rejects(again.ask(target), 'nothing of it is passed on');
  const answer = await again.ask(target);
  assert.ok(answer.body.equals(bytes));
  await ingests.find(APP, digest)?.outcome;
  assert.equal((await again.catalog.blob(digest))?.size, SIZE);
});
