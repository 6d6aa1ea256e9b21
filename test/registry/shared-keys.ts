import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';

/** What hubs on one database have in common in their configuration. */
export async function sharedKeys(t: TestContext): Promise<{ keys: { encryptionKeyFile: string } }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-keys-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const encryptionKeyFile = path.join(folder, 'key');
  await writeFile(encryptionKeyFile, randomBytes(32).toString('base64'), { mode: 0o600 });
  return { keys: { encryptionKeyFile } };
}
