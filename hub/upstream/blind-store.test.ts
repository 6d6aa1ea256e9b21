// Stores that cannot be read before a blob has ended, as S3: readers have what is spooled.
import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseRepository } from '../../proto/oci/name.ts';
import type { BlobStore, PendingBlob } from '../blobs/port.ts';
import { KyselyUploadStore, type UploadTables } from '../catalog/upload-store.ts';
import { MIB, type TestRegistry } from '../registry/registry-fixture.ts';
import { PARK_BYTES } from './pull-constants.ts';
import { bytesOf, Origin, sendSome, startPullHub } from './pull-fixture.ts';

const APP = parseRepository('docker.io/library/app');
const PARKED = 2 * PARK_BYTES;
const SENT = PARKED + PARK_BYTES / 2;
const SIZE = PARKED + PARK_BYTES + 5;

/** The same object without some of its methods. */
function without<T extends object>(whole: T, changes: { [K in keyof T]?: T[K] | undefined }): T {
  return new Proxy(whole, {
    get: (object, key) => {
      if (key in changes) return Reflect.get(changes, key);
      const value: unknown = Reflect.get(object, key, object);
      return typeof value === 'function' ? value.bind(object) : value;
    },
  });
}

function blind(blobs: BlobStore): BlobStore {
  const hide = (pending: PendingBlob): PendingBlob => without(pending, { readBeside: undefined });
  return without(blobs, {
    begin: async () => hide(await blobs.begin()),
    resume: async (state) => {
      const pending = await blobs.resume(state);
      return pending && hide(pending);
    },
  });
}

async function rig(t: TestContext) {
  const origin = await Origin.start(t);
  const bytes = bytesOf(SIZE);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, SENT);
    return true;
  };
  const clock = { ms: Date.now() };
  const start = (beside?: TestRegistry) =>
    startPullHub(t, [origin], {
      with: (parts) => ({ ...parts, blobs: blind(parts.blobs) }),
      ...(beside === undefined ? { shared: true, now: () => clock.ms } : { beside }),
    });
  const { hub } = await start();
  const target = `/v2/${APP}/blobs/${digest}`;
  const part = await hub.ask(target, { headers: { range: `bytes=0-${SENT - 1}` } });
  assert.ok(part.body.equals(bytes.subarray(0, SENT)));
  origin.blobFault = undefined;
  // What it says of its hold from now on counts for nothing, as if it were no more.
  clock.ms = 0;
  const db = hub.catalog.db.withTables<UploadTables>();
  await new KyselyUploadStore({ shared: true }, { db }).letGoOf('hub');
  const spool = path.join(hub.folder, 'upstream', 'spool');
  assert.equal((await readdir(spool)).length, 1);
  const ranges = () =>
    origin.asked.filter(({ method }) => method === 'GET').map((one) => one.range);
  return { origin, bytes, digest, target, hub, start, spool, ranges };
}

test('readers have what is spooled, after a restart too, and it is gone at the end', async (t) => {
  const { bytes, digest, target, hub, start, spool, ranges } = await rig(t);
  const { hub: again, ingests } = await start(hub);
  assert.ok((await again.ask(target)).body.equals(bytes));
  await ingests.find(APP, digest)?.outcome;
  assert.deepEqual(ranges(), [undefined, `bytes=${PARKED}-`]);
  assert.deepEqual(await readdir(spool), []);
});

test('a hub without the spool goes on too, and the whole is checked at the end', async (t) => {
  const { origin, bytes, digest, target, hub, start, spool, ranges } = await rig(t);
  await rm(spool, { recursive: true });
  const rest = Promise.withResolvers<void>();
  origin.blobFault = (asked, response) => {
    sendSome(asked, response, bytes, MIB);
    void rest.promise.then(() => response.end(bytes.subarray(PARKED + MIB)));
    return true;
  };
  const { hub: again, ingests } = await start(hub);
  const range = `bytes=${PARKED}-${PARKED + MIB - 1}`;
  const late = await again.ask(target, { headers: { range } });
  const come = bytes.subarray(PARKED, PARKED + MIB);
  assert.ok(late.body.equals(come), 'what comes now is read at once');
  const whole = again.ask(target);
  rest.resolve();
  assert.ok((await whole).body.equals(bytes));
  await ingests.find(APP, digest)?.outcome;
  assert.deepEqual(ranges(), [undefined, `bytes=${PARKED}-`]);
  const { root, hashes } = (await again.catalog.blob(digest)) ?? {};
  assert.ok(root && hashes);
});
