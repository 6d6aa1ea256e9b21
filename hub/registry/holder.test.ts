import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { holderOf } from './holder.ts';

test('a hub has the same name after a restart, and no other hub has it', async (t) => {
  const folders = await Promise.all(
    [1, 2].map(() => mkdtemp(path.join(tmpdir(), 'flotilla-holder-'))),
  );
  t.after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));
  const [one = '', other = ''] = folders;
  const name = await holderOf(one);
  assert.notEqual(name, '');
  assert.equal(await holderOf(one), name);
  assert.notEqual(await holderOf(other), name);
});

test('a data folder that is not there is told', async () => {
  await assert.rejects(holderOf(path.join(tmpdir(), 'flotilla-no-such-folder')), /ENOENT/);
});
