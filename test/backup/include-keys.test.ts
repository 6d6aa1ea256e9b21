import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { createBackup } from '../../bin/backup.ts';

test('keys that are not in the data folder are told where to find, before anything', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-include-keys-'));
  t.after(() => rm(folder, { recursive: true }));
  const env = { FLOTILLA_HUB_DATA_DIR: folder };
  const place = { to: path.join(folder, 'backup'), url: undefined };
  const wish = { ...place, incremental: false, catalogOnly: false, includeKeys: true };
  await assert.rejects(createBackup(wish, { env, tell: () => assert.fail() }), {
    code: 'CONFIG_INVALID',
    message: /hub\.dataDir: there is no .*key-ring\.pem .*encryptionKeyFile leave the option out/,
  });
  assert.deepEqual(await readdir(folder), []);
});
