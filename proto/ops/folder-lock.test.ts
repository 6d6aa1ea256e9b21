import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../std/errors.ts';
import { claimFolder, lockFolder, takeLockFile } from './folder-lock.ts';

const inUse = (err: unknown): boolean => hasCode(err, 'FOLDER_IN_USE');
const refused = (): Promise<never> => Promise.reject(new Error('EACCES: permission denied'));
const HOLDER = `
  const { lockFolder } = await import(process.argv[1]);
  lockFolder(process.argv[2]);
  process.stdout.write('held');
  setInterval(() => {}, 1000);
`;

test('a folder belongs to one process, until it is killed', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-lock-'));
  const module = path.join(import.meta.dirname, 'folder-lock.ts');
  const holder = spawn(
    process.execPath,
    ['--input-type=module', '-e', HOLDER, '--', module, folder],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    await once(holder.stdout, 'data');
    assert.throws(() => lockFolder(folder), inUse);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    lockFolder(folder)[Symbol.dispose]();
  } finally {
    holder.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});

test('within one process as well, and given back', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-lock-'));
  const lock = lockFolder(folder);
  assert.throws(() => lockFolder(folder), inUse);
  lock[Symbol.dispose]();
  lockFolder(folder)[Symbol.dispose]();
  await rm(folder, { recursive: true, force: true });
});

test('a lock file goes when it is given back, and is free when its holder is killed', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-lock-'));
  const file = path.join(folder, 'lock');
  const module = path.join(import.meta.dirname, 'folder-lock.ts');
  const code = HOLDER.replaceAll('lockFolder', 'takeLockFile').replace(
    '\n  take',
    '\n  await take',
  );
  const args = ['--input-type=module', '-e', code, '--', module, file];
  const holder = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(holder.stdout, 'data');
    assert.equal(await takeLockFile(file), undefined);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    assert.deepEqual(await readdir(folder), ['lock']);
    const lock = await takeLockFile(file);
    assert.ok(lock);
    assert.equal(await takeLockFile(file), undefined, 'within one process as well');
    await lock[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(folder), []);
  } finally {
    holder.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});

test('a folder that is not there is named', () => {
  const folder = path.join(tmpdir(), 'flotilla-lock-none', 'none');
  assert.throws(
    () => lockFolder(folder),
    (err: unknown) => hasCode(err, 'FOLDER_UNUSABLE'),
  );
});

test('a folder that cannot be made is named with its setting', async () => {
  const claimed = claimFolder('/somewhere', 'hub.dataDir', refused);
  const message = /\/somewhere cannot be made; set hub\.dataDir/;
  await assert.rejects(claimed, { code: 'FOLDER_UNUSABLE', message });
});
