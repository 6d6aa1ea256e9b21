// The folder for temporary files is everybody's.
import assert from 'node:assert/strict';
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { RememberedUploads } from '../../hub/bundle/remembered-uploads.ts';
import { scratch } from './bundle-rig.ts';

// Nothing can be written beside this one.
const OF = { bundle: '/dev/null/bundle.tar', url: 'http://hub.test', id: '0'.repeat(32) };
const KEY = 'team/app sha256:0';
const PLACE = '/v2/team/app/blobs/uploads/1';

/** Has uploads remembered in a folder; the file that is used. */
async function inFolder(t: TestContext): Promise<string> {
  const folder = await scratch(t);
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  t.after(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
  const uploads = await RememberedUploads.open(OF);
  await uploads.put(KEY, PLACE);
  const [name = ''] = await readdir(folder);
  await uploads.clear();
  return path.join(folder, name);
}

test('what is remembered there is found again, and no more when it is cleared', async (t) => {
  await inFolder(t);
  await (await RememberedUploads.open(OF)).put(KEY, PLACE);
  const again = await RememberedUploads.open(OF);
  assert.equal(again.find(KEY), PLACE);
  await again.clear();
  assert.equal((await RememberedUploads.open(OF)).find(KEY), undefined);
});

test('a link that somebody laid there is neither written through nor believed', async (t) => {
  const file = await inFolder(t);
  const precious = path.join(await scratch(t), 'precious');
  await writeFile(precious, 'as it was');
  await symlink(precious, `${file}.new`);
  const uploads = await RememberedUploads.open(OF);
  await uploads.put(KEY, PLACE);
  assert.equal(await readFile(precious, 'utf8'), 'as it was');
  await uploads.clear();
  await writeFile(precious, JSON.stringify([[KEY, PLACE]]));
  await symlink(precious, file);
  assert.equal((await RememberedUploads.open(OF)).find(KEY), undefined);
});
