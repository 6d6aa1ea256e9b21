// What a power cut leaves of a backup that was made, and of one that was put back.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { BackupFolder } from '../../hub/backup/folder.ts';
import { putInPlace } from '../../hub/backup/restore-hub.ts';
import {
  assertRestored,
  markerIn,
  removeMarker,
  setMarker,
} from '../../hub/backup/restore-marker.ts';
import { backup, check, restore, scratch, verify } from '../backup/backup-rig.ts';
import { TestHub } from '../registry/test-hub.ts';
import { survives } from './power-cuts.ts';

const CATALOG = 'catalog.sqlite';

test('a backup that was made', async (t) => {
  await using hub = await TestHub.start();
  await hub.pushImage('v1', [randomBytes(50_000)]);
  await survives(t, async (top) => {
    const to = path.join(top, 'backup');
    await backup(hub, to);
    return async () => {
      assert.deepEqual((await verify(to)).problems, []);
      const again = new BackupFolder({ path: to }).begin({ again: false });
      await assert.rejects(again, { code: 'TARGET_NOT_EMPTY' });
    };
  });
});

test('a file of a backup', (t) =>
  survives(t, async (top) => {
    await new BackupFolder({ path: top }).writeFile('file', 'what is in it');
    return async () =>
      assert.equal(await readFile(path.join(top, 'file'), 'utf8'), 'what is in it');
  }));

test('a backup that was put back, and what it replaced', async (t) => {
  const from = path.join(await scratch(t), 'backup');
  await using hub = await TestHub.start();
  await hub.pushImage('v1', [randomBytes(50_000)]);
  await backup(hub, from);
  await survives(t, async (top) => {
    await writeFile(path.join(top, CATALOG), 'another catalog');
    await restore(from, top, { policy: 'kept', newKeys: true, replace: true });
    return async () => {
      await assertRestored(top);
      assert.deepEqual((await check(top)).counts, {});
      const aside = (await readdir(top)).find((name) => name.startsWith('replaced-'));
      assert.deepEqual(await readdir(path.join(top, aside ?? '')), [CATALOG]);
    };
  });
});

test('the moments between which a restore is unfinished', async (t) => {
  await survives(t, async (top) => {
    await setMarker(top, 'a backup');
    return async () => assert.equal(await markerIn(top), 'a backup');
  });
  await survives(t, async (top) => {
    await setMarker(top, 'a backup');
    await removeMarker(top);
    return () => assertRestored(top);
  });
  await survives(t, async (top) => {
    await writeFile(path.join(top, `${CATALOG}.restoring`), 'rows');
    await putInPlace(top);
    return async () => assert.equal(await readFile(path.join(top, CATALOG), 'utf8'), 'rows');
  });
});
