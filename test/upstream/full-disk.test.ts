// What a hub does with a blob of an upstream for which its disk has no room.
import assert from 'node:assert/strict';
import { rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { PARK_BYTES } from '../../hub/upstream/pull-constants.ts';
import { Scratch } from '../rig/scratch.ts';
import { until } from '../rig/until.ts';
import { entryOf, hubInFront, standIn, type HubInFront } from './hub-in-front.ts';

const MIB = 1024 ** 2;
const DISK_BYTES = 96 * MIB;
const FILLER_BYTES = 64 * MIB;
/** More than is left, and what is left is enough for a part to be parked. */
const LAYER_BYTES = 40 * MIB;
/** What the catalog may have grown by meanwhile. */
const CATALOG_BYTES = 2 * MIB;
const TIMEOUT_MS = 30_000;
const skip = process.getuid?.() !== 0 && 'needs root, for a file system of its own';
const scratch = Scratch.open();
after(() => scratch.close());

test(
  'a blob that fills the disk leaves nothing, and comes when there is room',
  { skip },
  async (t) => {
    const folder = await scratch.make('full-disk');
    const data = await scratch.disk(DISK_BYTES, 'full-disk', 'data');
    const upstream = await standIn(t);
    const entries = [
      entryOf('docker.io', upstream),
      entryOf('checked.example', upstream, { provisional: 'swarm-only' }),
    ];
    const layers = [{ seed: 'full', bytes: LAYER_BYTES }];
    const platforms = [{ os: 'linux', architecture: 'amd64', layers }];
    const plan = { repository: 'library/app', tags: ['v1'], platforms, index: false };
    const [manifest] = upstream.shelf.addImage(plan).manifests;
    const [layer] = manifest?.layers ?? [];
    assert.ok(layer);
    const pull = async (hub: HubInFront, name: string) => {
      const base = `/v2/${name}/library/app`;
      assert.equal((await hub.get(`${base}/manifests/v1`)).status, 200);
      return await hub.get(`${base}/blobs/${layer.digest}`);
    };
    const start = (): Promise<HubInFront> => hubInFront(t, entries, { folder });
    const free = async (): Promise<number> => {
      const { bavail, bsize } = await statfs(data);
      return bavail * bsize;
    };

    const hub = await start();
    const filler = path.join(data, 'filler');
    await writeFile(filler, Buffer.alloc(FILLER_BYTES));
    const room = await free();
    assert.ok(room > PARK_BYTES && room < layer.size, `${room} bytes are left`);
    const broken = await pull(hub, 'docker.io');
    assert.equal(broken.whole, false, 'it was cut off where the disk was full');
    assert.ok(broken.body.length > PARK_BYTES, `${broken.body.length} bytes came`);
    await until('room is given back', TIMEOUT_MS, async () =>
      (await free()) > room - CATALOG_BYTES ? true : undefined,
    );

    const passedOn = await pull(hub, 'docker.io');
    assert.deepEqual(
      [passedOn.status, passedOn.sha256],
      [200, layer.digest],
      'not stored, but here',
    );
    const refused = await pull(hub, 'checked.example');
    assert.equal(refused.status, 503);
    assert.match(refused.body.toString(), /UNAVAILABLE.*no room left/);
    assert.ok((await free()) > room - CATALOG_BYTES, 'that took no room');
    assert.match(await hub.kill(), /a blob of an upstream did not come/);

    await rm(filler);
    const next = await start();
    const whole = await pull(next, 'docker.io');
    assert.deepEqual([whole.status, whole.sha256], [200, layer.digest]);
    await until('it is stored', TIMEOUT_MS, async () =>
      (await free()) < DISK_BYTES - layer.size ? true : undefined,
    );
    upstream.forget();
    assert.equal((await pull(next, 'docker.io')).sha256, layer.digest);
    assert.deepEqual(upstream.report().blobs, {});
  },
);
