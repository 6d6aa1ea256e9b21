import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { makeDurableFolder, nodeFolderOps, type FolderOps } from './durable-folder.ts';

function refusing(code: string, made: boolean): { synced: string[]; ops: FolderOps } {
  const synced: string[] = [];
  const ops: FolderOps = {
    makeFolder: async (folder) => made && folder === '/srv/hub',
    syncFolder: async (folder) => {
      synced.push(folder);
      throw Object.assign(new Error(`${code}: ${folder}`), { code });
    },
  };
  return { synced, ops };
}

test('missing folders are made, and made again without complaint', async () => {
  const top = await mkdtemp(path.join(tmpdir(), 'flotilla-folder-'));
  const folder = path.join(top, 'a', 'b', 'c');
  await Promise.all([makeDurableFolder(folder), makeDurableFolder(folder)]);
  await makeDurableFolder(folder);
  assert.ok((await stat(folder)).isDirectory());
  await rm(top, { recursive: true });
});

test('every name above the folder is synced, also names that were there', async () => {
  const synced: string[] = [];
  const ops: FolderOps = {
    makeFolder: async () => false,
    syncFolder: async (folder) => void synced.push(folder),
  };
  await makeDurableFolder('/srv/hub/data', ops);
  assert.deepEqual(synced, ['/', '/srv', '/srv/hub']);
});

test('a file in the way is an error; a mode that is there stays', async () => {
  const top = await mkdtemp(path.join(tmpdir(), 'flotilla-folder-'));
  await writeFile(path.join(top, 'file'), '');
  await assert.rejects(makeDurableFolder(path.join(top, 'file')), { code: 'EEXIST' });
  await assert.rejects(makeDurableFolder(path.join(top, 'file', 'below')), { code: 'ENOTDIR' });
  const own = path.join(top, 'own');
  await mkdir(own);
  await chmod(own, 0o700);
  await makeDurableFolder(own, nodeFolderOps);
  assert.equal((await stat(own)).mode % 0o1000, 0o700);
  await rm(top, { recursive: true });
});

test('folders of others need not be synced, what was made here must be', async () => {
  const others = refusing('EACCES', false);
  await makeDurableFolder('/srv/hub', others.ops);
  assert.deepEqual(others.synced, ['/', '/srv']);
  await assert.rejects(makeDurableFolder('/srv/hub', refusing('EACCES', true).ops), {
    code: 'EACCES',
  });
  await assert.rejects(makeDurableFolder('/srv/hub', refusing('EIO', false).ops), { code: 'EIO' });
});
