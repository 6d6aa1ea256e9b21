import assert from 'node:assert/strict';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseRepository } from '../../proto/oci/name.ts';
import { KyselyUploadStore, type UploadTables } from '../catalog/upload-store.ts';
import { MIB, type TestRegistry } from '../registry/registry-fixture.ts';
import { bytesOf, Origin, sendSome, startPullHub } from './pull-fixture.ts';
import { INGEST_HOLD_MS, PARK_BYTES } from './pull-constants.ts';

const APP = parseRepository('docker.io/library/app');
const PARKED = 2 * PARK_BYTES;
const SENT = PARKED + PARK_BYTES / 2;
const SIZE = PARKED + PARK_BYTES + 5;

/** A hub whose upstream went silent in the middle; each clock stands where a test puts it. */
async function stalled(t: TestContext) {
  const origin = await Origin.start(t);
  const bytes = bytesOf(SIZE);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, SENT);
    return true;
  };
  const clocks = { firstMs: Date.now(), othersMs: Date.now() };
  const now = (): number => clocks.othersMs;
  const own = { holder: 'first', now: () => clocks.firstMs };
  const first = await startPullHub(t, [origin], { shared: true, ...own });
  const target = `/v2/docker.io/library/app/blobs/${digest}`;
  const { hub } = first;
  const part = await hub.ask(target, { headers: { range: `bytes=0-${SENT - 1}` } });
  assert.ok(part.body.equals(bytes.subarray(0, SENT)));
  origin.blobFault = undefined;
  /** As if it were no more: what it says of its hold from now on counts for nothing. */
  const kill = async (): Promise<void> => {
    clocks.firstMs = 0;
    await letGoOf(hub, 'first');
  };
  return { origin, bytes, digest, target, hub, clocks, now, kill };
}

function rangesOf(origin: Origin): (string | undefined)[] {
  return origin.asked.filter(({ method }) => method === 'GET').map(({ range }) => range);
}

/** As the same hub does at its start. */
async function letGoOf({ catalog }: TestRegistry, holder: string): Promise<void> {
  const db = catalog.db.withTables<UploadTables>();
  await new KyselyUploadStore({ shared: true }, { db }).letGoOf(holder);
}

test('what a hub had parked when it was killed is not fetched again after its start', async (t) => {
  const { origin, bytes, digest, target, hub, now, kill } = await stalled(t);
  await kill();
  const second = await startPullHub(t, [origin], { beside: hub, holder: 'first', now });
  const { hub: again, ingests } = second;
  const answer = await again.ask(target);
  assert.ok(answer.body.equals(bytes));
  assert.deepEqual(rangesOf(origin), [undefined, `bytes=${PARKED}-`]);
  await ingests.find(APP, digest)?.outcome;
  assert.equal((await again.catalog.blob(digest))?.size, SIZE);
});

test('another hub goes on when the one that had the blob is silent for long', async (t) => {
  const { origin, bytes, target, hub, clocks, now } = await stalled(t);
  const holder = 'second';
  const second = { beside: hub, holder, now, shared: true, ownerWaitMs: 600 };
  const { hub: other } = await startPullHub(t, [origin], second);
  const early = await other.ask(target);
  assert.equal(early.status, 503, 'the first may be alive');
  assert.deepEqual(rangesOf(origin), [undefined]);
  clocks.othersMs += INGEST_HOLD_MS + 1;
  const answer = await other.ask(target);
  assert.ok(answer.body.equals(bytes));
  assert.deepEqual(rangesOf(origin), [undefined, `bytes=${PARKED}-`]);
});

test('parked bytes that are not there as they were are fetched anew', async (t) => {
  const { origin, bytes, digest, target, hub, now, kill } = await stalled(t);
  await kill();
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
