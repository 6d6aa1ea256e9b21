// What people are told by a restore.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { restoreBackup } from '../../bin/backup.ts';
import { TestHub } from '../registry/test-hub.ts';
import { backup, scratch } from './backup-rig.ts';

/** The report of restoring a small backup. */
async function report(t: TestContext, keepRights: boolean): Promise<string> {
  const folder = await scratch(t);
  const [to, dataDir] = [path.join(folder, 'backup'), path.join(folder, 'data')];
  await using hub = await TestHub.start();
  const keyRing = await readFile(path.join(hub.folder, 'keys', 'key-ring.pem'), 'utf8');
  await backup(hub, to, { keyRing });
  const sources = { rightsFrom: undefined, purged: undefined, keys: undefined };
  const wish = { folder: to, dataDir, keepRights, newKeys: false, replace: false, ...sources };
  return (await restoreBackup(wish, { env: {}, tell: () => {} })).text;
}

test('who keeps the rights of a backup is warned of what was ended since', async (t) => {
  assert.match(await report(t, true), /^warning: .* revoked later are good again; end them/m);
  assert.doesNotMatch(await report(t, false), /good again/);
});
